"""The gateway for browsers. Run it with `uvicorn --factory shop.gateway:create_app`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field
from starlette.authentication import requires
from starlette.middleware.authentication import AuthenticationMiddleware

from pytest_langfuse.tracing import (
    LangfuseASGIMiddleware,
    get_request_context,
    init_tracing,
    instrument_httpx,
    shutdown_tracing,
)
from shop import __version__
from shop.catalogue import search
from shop.settings import setting
from shop.sign_in import SignIn


class Basket(BaseModel):
    """The body of `POST /checkout`."""

    skus: list[str] = Field(min_length=1, max_length=20)


def create_app() -> FastAPI:
    """Create the application; settings come from the environment."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        init_tracing(release=__version__)
        try:
            async with httpx.AsyncClient(timeout=20.0) as http:
                # Requests to the hosts of LANGFUSE_PROPAGATE_TO carry the trace, the user and the session.
                instrument_httpx(http)
                app.state.http = http
                yield
        finally:
            await asyncio.to_thread(shutdown_tracing)

    app = FastAPI(title="Shop", version=__version__, lifespan=lifespan)
    # Not trusted: a browser can send any user and trace. The sign-in knows the user.
    app.add_middleware(
        LangfuseASGIMiddleware,
        trusted=False,
        user_id=lambda scope: getattr(scope["user"], "id", None),
        session_id=lambda scope: getattr(scope["user"], "session", None),
        exclude=["/health"],
        send_request_id=True,
    )
    # The middleware added last runs first.
    app.add_middleware(AuthenticationMiddleware, backend=SignIn(setting("SHOP_SECRET")))

    @app.get("/products")
    def products(q: str) -> list[str]:
        """Search the catalogue."""
        return search(q)

    @app.post("/checkout")
    @requires("customer")
    async def checkout(request: Request, basket: Basket) -> Any:
        """Order the contents of the basket."""
        return await _answer(request, "POST", f"{setting('ORDERS_URL')}/orders", json=basket.model_dump())

    @app.get("/products/{sku}/recommendations")
    @requires("customer")
    async def recommendations(request: Request, sku: str) -> Any:
        """Recommend products that go with one."""
        return await _answer(request, "GET", f"{setting('RECOMMENDATIONS_URL')}/recommendations/{sku}")

    @app.get("/health")
    def health() -> dict[str, str]:
        """Report that the service is up."""
        return {"status": "ok"}

    return app


async def _answer(request: Request, method: str, url: str, **options: Any) -> Any:
    """Return the answer of another service of the shop."""
    http: httpx.AsyncClient = request.app.state.http
    headers = {"x-request-id": get_request_context().request_id or ""}
    try:
        response = await http.request(method, url, headers=headers, **options)
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise HTTPException(502, "The shop has a problem, please try again.") from error
    return response.json()
