"""A bucket as Amazon S3 speaks it, as far as we use it: PUT, GET, DeleteObjects of signed requests; a key may be made to read only."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/[^/]+/s3/aws4_request, ?SignedHeaders=[^,]+, ?Signature=[0-9a-f]{64}")


@dataclass
class BucketFake:
    """`stored` holds what was put by path; `broken` answers 503 to that many requests that come next."""

    address: str = ""
    stored: dict[str, bytes] = field(default_factory=dict)
    writers: set[str] = field(default_factory=set)
    readers: set[str] = field(default_factory=set)
    broken: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        if self.broken:
            self.broken -= 1
            return web.Response(status=503)
        signed = _SIGNED.fullmatch(request.headers.get("authorization", ""))
        allowed = self.writers if request.method in ("PUT", "POST") else self.writers | self.readers
        if signed is None or signed[1] not in allowed:
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")
        return await self._done(request)

    async def _done(self, request: web.Request) -> web.Response:
        path = request.path
        if request.method == "PUT":
            self.stored[path] = await request.read()
            return web.Response(headers={"ETag": '"e"'})
        if request.method == "POST" and "delete" in request.query:
            keys = re.findall(r"<Key>([^<]*)</Key>", await request.text())
            for key in keys:
                self.stored.pop(f"{path.rstrip('/')}/{key}", None)
            deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            return web.Response(text=f"<DeleteResult>{deleted}</DeleteResult>", content_type="application/xml")
        if path not in self.stored:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        return web.Response(body=self.stored[path], headers={"ETag": '"e"', "Last-Modified": "Sun, 29 Nov 2026 00:00:00 GMT"})


@asynccontextmanager
async def bucket() -> AsyncIterator[BucketFake]:
    """The fake on a port of its own."""
    fake = BucketFake(writers={"worker"}, readers={"web"})
    app = web.Application(client_max_size=64 * 1024**2)
    app.router.add_route("*", "/{path:.*}", fake.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()
