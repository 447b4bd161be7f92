"""Bytes that are too many for a row: in a folder of this machine, or in a bucket that speaks as Amazon S3 does."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from .settings import Settings


class ObjectsAway(Exception):
    """The place cannot be reached, or refuses; what was wanted has not been done, or may have been."""


class NoSuchObject(Exception):
    """There are no bytes by this key."""


@dataclass(frozen=True)
class Object:
    """Bytes as they come; `size` is how many there are."""

    size: int
    chunks: AsyncIterator[bytes]


class Objects:
    """The place that the settings name. A bucket's credentials are those of the environment, as `AWS_ACCESS_KEY_ID` and its like say."""

    def __init__(self, settings: Settings) -> None:
        self._bucket = urlsplit(settings.artifacts) if settings.artifacts.startswith("s3://") else None
        self.folder = None if self._bucket else Path(settings.artifacts or settings.data_dir / "artifacts").resolve()

    async def put(self, key: str, content: bytes) -> None:
        """Keeps the bytes by this key, whole or not at all; raises ObjectsAway."""
        try:
            if self.folder:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            await self._store.put_async(key, content)
            if self.folder:
                await asyncio.to_thread(_synced, self.folder / key)
        except (OSError, BaseError) as error:
            raise ObjectsAway(_told(error)) from None

    async def get(self, key: str) -> Object:
        """The bytes; raises NoSuchObject or ObjectsAway. A break while they come is raised by the iterator, as ObjectsAway too."""
        try:
            found = await self._store.get_async(key)
        except FileNotFoundError:
            raise NoSuchObject(key) from None
        except (OSError, BaseError) as error:
            raise ObjectsAway(_told(error)) from None
        return Object(found.meta["size"], _chunks(found.stream()))

    async def delete(self, key: str) -> None:
        """Removes the bytes; nothing happens where there are none. Raises ObjectsAway."""
        try:
            await self._store.delete_async(key)
        except FileNotFoundError:
            return
        except (OSError, BaseError) as error:
            raise ObjectsAway(_told(error)) from None

    @cached_property
    def _store(self) -> LocalStore | S3Store:
        if self._bucket:
            prefix = self._bucket.path.strip("/") or None
            return S3Store(
                self._bucket.netloc,
                prefix=prefix,
                # Options that are given here replace those of the environment, so this one is handed on.
                client_options={"connect_timeout": "3s", "timeout": "30s", "allow_http": os.environ.get("AWS_ALLOW_HTTP") == "true"},
                retry_config={"max_retries": 3},
            )
        return LocalStore(self.folder)


async def _chunks(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for one in stream:
            yield bytes(one)
    except (OSError, BaseError) as error:
        raise ObjectsAway(_told(error)) from None


def _synced(path: Path) -> None:
    """A file and its name are on the disk only when it and its folders were told so."""
    for one in (path, path.parent, path.parent.parent):
        descriptor = os.open(one, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _told(error: Exception) -> str:
    """Its first line: what follows there is for the library's authors, and may quote a whole request."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
