"""The order service. Run it with `gunicorn "shop.orders:create_app()"`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import flask
from langfuse.openai import OpenAI

from pytest_langfuse.tracing import LangfuseWSGIMiddleware, carry_context, init_tracing
from shop import __version__
from shop.catalogue import stock
from shop.jobs import ship
from shop.settings import setting

MODEL = "gpt-4o-mini"


def create_app() -> flask.Flask:
    """Create the application; settings, including OpenAI's, come from the environment."""
    init_tracing(release=__version__)
    app = flask.Flask("shop.orders")
    # Trusted: only the gateway can reach this service, and it forwards no tracing headers of browsers.
    app.wsgi_app = LangfuseWSGIMiddleware(app.wsgi_app, trusted=True, exclude=["/health"])  # type: ignore[method-assign]
    openai = OpenAI(api_key=setting("OPENAI_API_KEY"), max_retries=0)
    # Any: Langfuse's integration takes keywords that OpenAI's types don't know.
    completions: Any = openai.chat.completions
    # Every product is in a different warehouse, and each takes a while to answer.
    warehouses = ThreadPoolExecutor(4)

    @app.post("/orders")
    def order() -> Any:
        skus: list[str] = flask.request.get_json()["skus"]
        # Python does not carry the context into the threads of a pool.
        if not all(warehouses.map(carry_context(stock), skus)):
            return {"error": "sold out"}, 409
        completion = completions.create(
            name="thank",
            model=MODEL,
            messages=[{"role": "user", "content": f"Thank a customer in one line for ordering: {', '.join(skus)}"}],
        )
        number = uuid4().hex[:8]
        ship.delay(number, skus)
        return {"order": number, "message": completion.choices[0].message.content}, 201

    @app.get("/health")
    def health() -> Any:
        return {"status": "ok"}

    return app
