"""The HTTP side. Run it with `uvicorn naive_bot.app:app`."""

from __future__ import annotations

from fastapi import FastAPI
from langfuse import get_client
from pydantic import BaseModel

from naive_bot.bot import answer

# Spans of FastAPI itself would be noise in Langfuse.
app = FastAPI(title="Naive bot", telemetry={"tracing": False})


class Question(BaseModel):
    """The body of `POST /chat`."""

    question: str


class Feedback(BaseModel):
    """The body of `POST /feedback`."""

    trace_id: str
    helpful: bool


@app.post("/chat")
def chat(body: Question) -> dict[str, str]:
    """Answer a question."""
    text = answer(body.question)
    # Mistake: the customer waits until Langfuse has the trace.
    get_client().flush()
    return {"answer": text}


@app.post("/feedback", status_code=202)
def feedback(body: Feedback) -> None:
    """Score whether an answer helped."""
    get_client().create_score(trace_id=body.trace_id, name="helpful", value=float(body.helpful))
    # The same mistake.
    get_client().flush()


@app.get("/health")
def health() -> dict[str, str]:
    """Report that the service is up."""
    return {"status": "ok"}
