"""Which hub the command line speaks to, and as whom: a personal token, or in a demo a token of the cast."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from .endings import Failed, WrongCall

PREFIX: Final = "COUNTERSIGN_"
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Identity:
    """Where the hub is, and the token to show it."""

    url: str
    token: str = field(repr=False)


def identify(person: str = "") -> Identity:
    """The hub and the token in force; raises Failed when there is no token, WrongCall when a name or address cannot be used."""
    url = hub_url()
    if person:
        return Identity(url, _demo_token(url, person))
    token = _environment("TOKEN") or str(_kept().get("tokens", {}).get(url, ""))
    if token:
        return Identity(url, token)
    cast = demo_tokens() if is_local(url) else {}
    hint = f"say who you are with --as ({', '.join(sorted(cast))}), or " if cast else ""
    raise Failed(f"There is no token for {url}: {hint}log in with: countersign login")


def hub_url() -> str:
    """COUNTERSIGN_URL, else this machine's COUNTERSIGN_PORT, else where one logged in last, else port 8000 of this machine."""
    port = _environment("PORT")
    local = f"http://127.0.0.1:{port}" if port else ""
    url = (_environment("URL") or local or str(_kept().get("url", "")) or "http://127.0.0.1:8000").rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise WrongCall(f"COUNTERSIGN_URL: {url!r} is not an address such as https://countersign.example.test")
    if parts.scheme == "http" and not is_local(url):
        raise WrongCall(f"COUNTERSIGN_URL: {url} would send your token in clear; use https")
    return url


def is_local(url: str) -> bool:
    """Whether the address is on this machine."""
    return urlsplit(url).hostname in LOOPBACK


def demo_tokens() -> dict[str, str]:
    """The tokens of the demo's cast by name; none when no demo has run in the data folder."""
    path = Path(_environment("DATA_DIR") or ".countersign") / "demo" / "tokens.json"
    return {str(name): str(value) for name, value in _read(path).items()}


def keep_login(url: str, token: str) -> Path:
    """Keeps the token for this hub in a file that only this account may read; returns its path."""
    kept = _kept()
    tokens = {**kept.get("tokens", {}), url: token}
    path = _login_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"url": url, "tokens": tokens}, file, indent=1)
    draft.replace(path)
    return path


def _demo_token(url: str, person: str) -> str:
    if not is_local(url):
        raise WrongCall("--as works only with a demo on this machine.")
    cast = demo_tokens()
    if not cast:
        raise Failed("--as works only with a demo: start one with countersign up --demo (COUNTERSIGN_DATA_DIR names its folder).")
    if person not in cast:
        raise WrongCall(f"--as {person}: the demo's people are {', '.join(sorted(cast))}.")
    return cast[person]


def _kept() -> dict[str, Any]:
    kept = dict(_read(_login_path()))
    return kept if isinstance(kept.get("tokens", {}), dict) else {}


def _login_path() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "countersign" / "login.json"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Failed(f"{path} cannot be read: {error}") from None
    return data if isinstance(data, dict) else {}


def _environment(name: str) -> str:
    return os.environ.get(PREFIX + name, "").strip()
