"""A webhook of FastAPI and psycopg alone: the sender's signature, one insert with a commit of its own, 202.

`uvicorn --factory benchmarks.sides.bare_hook:create_app`, with BENCH_DATABASE_URL (as libpq reads it) and BENCH_HOOK_SECRET set. It has
no limits on what it takes, records nothing and starts nothing.
"""

import asyncio
import hashlib
import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from fastapi import FastAPI, Request, Response

CONNECTIONS = 8
TABLE = "CREATE TABLE deliveries (id text PRIMARY KEY, body jsonb NOT NULL, received_at timestamptz NOT NULL DEFAULT now())"
_KEEP = "INSERT INTO deliveries (id, body) VALUES (%s, %s::jsonb) ON CONFLICT DO NOTHING"


def create_app() -> FastAPI:
    """With connections that stay open and have the insert prepared."""
    free: asyncio.LifoQueue[psycopg.AsyncConnection[Any]] = asyncio.LifoQueue()
    secret = os.environ["BENCH_HOOK_SECRET"].encode()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for _n in range(CONNECTIONS):
            free.put_nowait(await psycopg.AsyncConnection.connect(os.environ["BENCH_DATABASE_URL"], autocommit=True, prepare_threshold=1))
        yield
        while not free.empty():
            await free.get_nowait().close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/hooks/releases")
    async def take(request: Request) -> Response:
        body = await request.body()
        signature = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, request.headers.get("x-hub-signature-256", "")):
            return Response(status_code=401)
        connection = await free.get()
        try:
            await connection.execute(_KEEP, [request.headers["x-github-delivery"], body.decode()])
        finally:
            free.put_nowait(connection)
        return Response(status_code=202)

    return app
