"""The HTTP side. Run it with `uvicorn --factory support_bot.app:create_app`."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import openai
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from pytest_langfuse.tracing import (
    RequestContext,
    get_langfuse_client,
    init_tracing,
    run_with_context,
    shutdown_tracing,
)
from support_bot import __version__
from support_bot.bot import Piece, Started, SupportBot
from support_bot.settings import Settings

logger = logging.getLogger(__name__)


class Question(BaseModel):
    """The body of `POST /chat`."""

    question: str = Field(min_length=1, max_length=2_000)


class Feedback(BaseModel):
    """The body of `POST /feedback`."""

    trace_id: str = Field(pattern="^[0-9a-f]{32}$")
    helpful: bool
    comment: str | None = Field(default=None, max_length=2_000)


def caller(
    x_user_id: Annotated[str, Header()],
    x_session_id: Annotated[str | None, Header()] = None,
    x_request_id: Annotated[str | None, Header()] = None,
) -> RequestContext:
    """Return the user of the request. The gateway in front of this service authenticates, and sets these headers."""
    return RequestContext(user_id=x_user_id, session_id=x_session_id, request_id=x_request_id)


def current_bot(request: Request) -> SupportBot:
    """Return the bot of this process."""
    bot: SupportBot = request.app.state.bot
    return bot


def create_app(settings: Settings | None = None) -> FastAPI:
    """Create the application; settings come from the environment unless given."""
    settings = settings or Settings.from_environment()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        init_tracing(release=__version__)
        try:
            async with httpx.AsyncClient(timeout=settings.timeout) as http:
                app.state.bot = SupportBot(settings, http)
                yield
        finally:
            await asyncio.to_thread(shutdown_tracing, settings.shutdown_timeout)

    # FastAPI 0.142 and later creates spans, which don't go to Langfuse. The root of a trace would have a parent that
    # Langfuse lacks, and Langfuse shows the input and output of a trace only if its root has no parent.
    app = FastAPI(title="Support bot", version=__version__, lifespan=lifespan)

    @app.post("/chat")
    async def chat(
        body: Question,
        context: Annotated[RequestContext, Depends(caller)],
        bot: Annotated[SupportBot, Depends(current_bot)],
    ) -> StreamingResponse:
        """Answer a question, as server-sent events: `started`, then pieces of text, then `done`."""
        events = run_with_context(context, bot.answer, body.question)
        try:
            # Wait for the first event: after it, a failure can no longer become a status code.
            first = await anext(events)
        except (openai.OpenAIError, httpx.HTTPError) as error:
            logger.warning("cannot answer: %s", error)
            raise HTTPException(502, "The assistant can't be reached, please try again.") from error
        return StreamingResponse(_server_sent(first, events), media_type="text/event-stream")

    @app.post("/feedback", status_code=202)
    def feedback(body: Feedback) -> None:
        """Score the trace of an answer by whether it helped."""
        get_langfuse_client().create_score(
            trace_id=body.trace_id,
            name="helpful",
            value=float(body.helpful),
            data_type="BOOLEAN",
            comment=body.comment,
        )

    return app


async def _server_sent(first: Started | Piece, events: AsyncIterator[Started | Piece]) -> AsyncIterator[str]:
    yield _event(first)
    async for event in events:
        yield _event(event)
    yield "event: done\ndata: {}\n\n"


def _event(event: Started | Piece) -> str:
    if isinstance(event, Started):
        return f"event: started\ndata: {json.dumps({'trace_id': event.trace_id})}\n\n"
    return f"data: {json.dumps({'text': event.text})}\n\n"
