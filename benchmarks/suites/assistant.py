"""An assistant as teams trace one: agents, model calls with usage, tools and retrievers with texts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle

from langfuse import Langfuse, propagate_attributes

#: Observations of the traces, again and again: most requests are small, a few are long conversations.
SIZES = (5, 12, 5, 40, 9, 5, 150, 23)
#: One trace is as large as this, or half as large as all.
LARGEST = 10_000
#: Observations of one turn: the turn, its three calls, and one in the tool.
_TURN = 5
_MODELS = ("gpt-4o-2024-08-06", "claude-sonnet-4-5-20250929")
_QUESTION = (
    "You answer for a shop. The customer writes: my parcel was due on Tuesday, and the carrier says that it is still "
    "in the warehouse. Could you check order {number} and tell me when it arrives? Please answer in two sentences, and "
    "name the day."
)
_ANSWER = (
    "I have looked at order {number}: it left the warehouse this morning and arrives on Thursday before noon. I am "
    "sorry for the delay; the shipping costs have been refunded to your card."
)
_PASSAGE = {
    "id": "8f14e45f-ceea-467f-a1d2-91a2f1c0b8{number:02x}",
    "url": "https://docs.example.com/shipping/delays?page={number}",
    "text": "Parcels that are late by more than two days are refunded their shipping costs on request of the customer.",
}


def make(langfuse: Langfuse, observations: int) -> list[str]:
    """Make so many observations, in traces of different sizes. Return the ids of these."""
    return [serve(langfuse, number, size) for number, size in enumerate(_traces(observations))]


def _traces(observations: int) -> Iterator[int]:
    """Yield the sizes of traces that have so many observations together: the largest one, then others in turns."""
    largest = min(LARGEST, observations // 2)
    yield largest
    left = observations - largest
    for size in cycle(SIZES):
        if left <= 0:
            return
        yield min(size, left)
        left -= size


def serve(langfuse: Langfuse, number: int, size: int) -> str:
    """Answer one request with exactly `size` observations. Return the id of its trace."""
    start = langfuse.start_as_current_observation
    question = _QUESTION.format(number=number)
    owner = propagate_attributes(
        user_id=f"user-{number % 97}", session_id=f"session-{number % 389}", tags=["shop"], metadata={"tenant": "north"}
    )
    with owner, start(name="assistant", as_type="agent", input={"question": question}) as root:
        left = size - 1
        while left > 0:
            turn = min(left, _TURN)
            _turn(langfuse, number + left, turn)
            left -= turn
        root.update(output={"answer": _ANSWER.format(number=number)})
        return root.trace_id


def _turn(langfuse: Langfuse, number: int, size: int) -> None:
    """Make `size` observations: a turn with up to a retriever, a model call and a tool that makes a call."""
    start = langfuse.start_as_current_observation
    text = _QUESTION.format(number=number)
    with ExitStack() as stack:
        stack.enter_context(start(name="turn", as_type="chain", input=text, metadata={"turn": number}))
        if size > 1:
            with start(name="search", as_type="retriever", input=text) as search:
                found = {key: value.format(number=number % 100) for key, value in _PASSAGE.items()}
                search.update(output=[found, found])
        if size > 2:
            messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}]
            with start(
                name="llm",
                as_type="generation",
                model=_MODELS[number % 2],
                model_parameters={"temperature": 0.2, "max_tokens": 400},
                input=messages,
            ) as call:
                call.update(
                    output={"role": "assistant", "content": _ANSWER.format(number=number)},
                    usage_details={"input": 180 + number % 40, "output": 60 + number % 20},
                    cost_details={"input": 0.00018, "output": 0.0006},
                )
        if size > 3:
            stack.enter_context(start(name="track-parcel", as_type="tool", input={"order": number}, level="DEBUG"))
        if size > 4:
            with start(name="GET carrier", input={"order": number}) as request:
                request.update(output={"status": "in transit", "history": ["packed", "handed over", "sorted"]})
