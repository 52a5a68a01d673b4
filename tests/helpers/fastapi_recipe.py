"""The recipe of the documentation for FastAPI, to be served by `uvicorn tests.helpers.fastapi_recipe:app`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request

from pytest_langfuse.tracing import (
    LangfuseASGIMiddleware,
    get_langfuse_client,
    get_request_context,
    init_tracing,
    request_context,
    shutdown_tracing,
)


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    init_tracing()
    yield
    await asyncio.to_thread(shutdown_tracing)


async def authenticated(request: Request) -> AsyncIterator[None]:
    async with request_context(user_id=request.headers.get("x-auth")):
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(LangfuseASGIMiddleware)


@app.get("/items/{i}", dependencies=[Depends(authenticated)])
async def item(i: int) -> str | None:
    with get_langfuse_client().start_as_current_observation(name="work"):
        return get_request_context().user_id
