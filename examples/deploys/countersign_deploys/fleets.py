"""The integration: releases on disk, and whether the web server really serves them."""

import asyncio
import http.client
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, DirectoryPath, Field, StringConstraints

from countersign import Duration, Integration, StepFailed, acts, reads

from .sites import Env, Site

ANSWER_SECONDS: Final = 5.0
_MOST_BYTES: Final = 64 * 1024
_ROOT: Final = "COUNTERSIGN_FLEET__ROOT"


class Fleet(Integration):
    """A site's folders and the server in front of them."""

    class Settings(BaseModel):
        """`root` is the site's folder, `url` where its server answers; a release is healthy after `checks` good answers, `pause` apart."""

        root: Annotated[DirectoryPath, Field(examples=["/srv/site"])]
        url: Annotated[str, StringConstraints(pattern=r"^https?://[^/?#@\s]+$"), Field(examples=["http://127.0.0.1:8100"])]
        checks: int = Field(5, ge=1, le=100)
        pause: Duration = Duration(milliseconds=500)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._site = Site(settings.root)
        self._url = settings.url

    @reads
    async def services(self) -> list[str]:
        return await asyncio.to_thread(self._site.services)

    @reads
    async def releases(self, service: str) -> list[str]:
        """The versions that could be served, the oldest first; none for an unknown service."""
        return await asyncio.to_thread(self._site.versions, service)

    @reads
    async def version(self, service: str, env: Env) -> str | None:
        """The version that the folders say is served."""
        return await asyncio.to_thread(self._site.current, service, env)

    @reads
    async def fingerprint(self, service: str, version: str) -> str:
        """SHA-256 of the release's files; raises StepFailed when there is no such release."""
        return await asyncio.to_thread(self._site.fingerprint, service, version)

    @reads
    async def check(self, service: str, env: Env, version: str) -> None:
        """Raises StepFailed, in a sentence, unless the server answers with this very version and its page can be read."""
        served = await self._get(f"/{env}/{service}/version")
        if served.strip() != version:
            raise StepFailed(f"{self.page(service, env)} serves {served.strip()[:40]}, not {version}.")
        await self._get(f"/{env}/{service}/")

    @reads
    def page(self, service: str, env: Env) -> str:
        """Where people find the service."""
        return f"{self._url}/{env}/{service}/"

    @acts(repeat="idempotent")
    async def point(self, service: str, env: Env, version: str) -> None:
        """Serves this release from now on, in one move."""
        await asyncio.to_thread(self._site.point, service, env, version)

    async def health(self) -> None:
        await self._get("/")

    async def _get(self, path: str) -> str:
        try:
            status, text = await asyncio.to_thread(_got, self._url, path)
        except (OSError, http.client.HTTPException) as error:
            raise StepFailed(f"{self._url}{path} does not answer: {str(error) or type(error).__name__}.") from None
        if status != http.HTTPStatus.OK:
            said = " ".join(text.split())[:200]
            raise StepFailed(f"{self._url}{path} answers {status}: {said}")
        return text


def configured_site(environment: Mapping[str, str] | None = None) -> Site | None:
    """The site that this process's environment names, for autocomplete, which has no context; None when it names none."""
    root = (os.environ if environment is None else environment).get(_ROOT, "").strip()
    return Site(Path(root)) if root else None


def _got(url: str, path: str) -> tuple[int, str]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    with closing(kind(parts.netloc, timeout=ANSWER_SECONDS)) as connection:
        connection.request("GET", path, headers={"Accept": "text/plain, text/html"})
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST_BYTES).decode(errors="replace")
