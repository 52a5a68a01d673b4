"""The requests in which spans and scores go to Langfuse, and what the answers mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

import httpx

from pytest_langfuse.tracing.delivery.export_body import LARGEST_BODY
from pytest_langfuse.tracing.delivery.exporter import TRACES_PATH
from pytest_langfuse.tracing.delivery.http_sink import judge
from pytest_langfuse.tracing.delivery.sink import Outcome, Verdict
from pytest_langfuse.tracing.forward.queue_source import SCORE, SPANS
from pytest_langfuse.tracing.forward.span_count import count_spans

_OK = range(200, 300)
_JSON = "application/json"
#: langfuse/_task_manager/score_consumer.py (5.0.4): the limit of the endpoint, with brackets and commas.
_LARGEST_SCORES = 900_000
#: Of the ingestion endpoint of the server: 4.5 MB.
_LARGEST_EVENTS = 3_500_000
#: Statuses that a single event may get, after which it is sent again.
_PASSING = frozenset({408, 429})
_SERVER_ERROR = 500


class PostFormat(Protocol):
    """An endpoint of Langfuse."""

    path: str
    content_type: str
    #: Bytes of one request at most, unless a single message is larger.
    largest: int
    #: Sending what was taken once more changes nothing.
    repeatable: bool

    def body(self, data: Sequence[bytes]) -> bytes:
        """Return the body of one request for the values of several messages."""

    def judge(self, response: httpx.Response, messages: int) -> Outcome:
        """Return the outcome that the answer to so many messages means."""


class SpanPosts:
    """Export bodies: written one behind the other they are one body."""

    path, content_type, largest, repeatable = TRACES_PATH, "application/x-protobuf", LARGEST_BODY, False

    def body(self, data: Sequence[bytes]) -> bytes:
        """See `PostFormat`."""
        return b"".join(data)

    def judge(self, response: httpx.Response, messages: int) -> Outcome:  # noqa: ARG002
        """See `PostFormat`."""
        return judge(response)


class ScorePosts:
    """Scores as the SDK sends them from version 5 on: a list. They have ids, so a repeated one replaces itself."""

    path, content_type, largest, repeatable = "/api/public/scores", _JSON, _LARGEST_SCORES, True

    def body(self, data: Sequence[bytes]) -> bytes:
        """See `PostFormat`."""
        return b"[%s]" % b",".join(data)

    def judge(self, response: httpx.Response, messages: int) -> Outcome:
        """See `PostFormat`. 207 counts those that were rejected, and names none (langfuse 5.0.4, `scores.create`)."""
        if response.status_code not in _OK:
            return judge(response)
        if (answer := _answer(response)) is None:
            return _not_langfuse(response)
        errors = answer.get("errors") or []
        rejected = min(int(answer.get("rejected") or len(errors)), messages)
        return _partly(rejected, messages, "http_207", _messages(errors))


class EventPosts:
    """Scores as the SDK sends them before version 5: events of the ingestion endpoint."""

    path, content_type, largest, repeatable = "/api/public/ingestion", _JSON, _LARGEST_EVENTS, True

    def body(self, data: Sequence[bytes]) -> bytes:
        """See `PostFormat`."""
        return b'{"batch":[%s]}' % b",".join(data)

    def judge(self, response: httpx.Response, messages: int) -> Outcome:
        """See `PostFormat`. 207 has an error with a status for each event that was refused."""
        if response.status_code not in _OK:
            return judge(response)
        if (answer := _answer(response)) is None:
            return _not_langfuse(response)
        errors = answer.get("errors") or []
        statuses = [error.get("status") for error in errors if isinstance(error, dict)]
        passing = [one for one in statuses if isinstance(one, int) and (one in _PASSING or one >= _SERVER_ERROR)]
        if passing and messages == 1:
            return Outcome(Verdict.FAILED, f"http_{passing[0]}", detail=_messages(errors))
        reason = f"http_{statuses[0]}" if statuses and isinstance(statuses[0], int) else "http_207"
        return _partly(min(len(errors), messages), messages, reason, _messages(errors))


def _partly(rejected: int, messages: int, reason: str, detail: str) -> Outcome:
    if rejected and messages == 1:
        return Outcome(Verdict.REFUSED, reason, detail=detail)
    return Outcome(Verdict.ACCEPTED, reason if rejected else "", rejected=rejected, detail=detail)


def _answer(response: httpx.Response) -> dict[str, Any] | None:
    try:
        answer = json.loads(response.content)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _not_langfuse(response: httpx.Response) -> Outcome:
    return Outcome(Verdict.FAILED, "not_langfuse", detail=response.content[:200].decode("utf-8", "replace"))


def _messages(errors: Sequence[Any]) -> str:
    texts = [str(error.get("message") or error.get("error") or "") for error in errors if isinstance(error, dict)]
    return "; ".join(text for text in texts if text)


SPAN_POSTS, SCORE_POSTS, EVENT_POSTS = SpanPosts(), ScorePosts(), EventPosts()


class Unsendable(ValueError):  # noqa: N818 - becomes a dead letter
    """A message that no endpoint takes: the reason in one word, and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def format_of(kind: str, body: bytes) -> tuple[PostFormat, int]:
    """Return the format in which a message is posted, and how many spans or scores it has.

    Raises:
        Unsendable: It is neither.
    """
    if kind == SPANS:
        spans = count_spans(body)
        if spans is None:
            raise Unsendable("undecodable", "The value is not an ExportTraceServiceRequest in protobuf.")
        if not spans:
            raise Unsendable("empty", "The message has no spans.")
        return SPAN_POSTS, spans
    if kind != SCORE:
        raise Unsendable("unknown_type", "The header x-langfuse-type is unknown. Known: score.")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Unsendable("undecodable", "The value is not a score: a JSON object.")
    return (EVENT_POSTS if "type" in value and "body" in value else SCORE_POSTS), 1
