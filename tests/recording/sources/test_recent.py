"""Recent traces of a Langfuse, as langfuse 4 lists them; tests of `check` read them with the installed SDK."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest

from pytest_langfuse.recording.sources.recent import NotReachable, client_of_environment, fetch, fetch_since


class TraceApi:
    """`client.api.trace` of langfuse 4: 130 traces, of which the first has no observations."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []

    def list(self, **query: object) -> SimpleNamespace:
        self.asked.append(query)
        start = (int(str(query["page"])) - 1) * 100
        return SimpleNamespace(data=[SimpleNamespace(id=f"t-{number}") for number in range(130)][start : start + 100])

    def get(self, trace_id: str) -> SimpleNamespace:
        rows = [{"id": f"o-{trace_id}", "traceId": trace_id, "type": "SPAN", "name": "a"}] if trace_id != "t-0" else []
        return SimpleNamespace(model_dump=lambda: {"id": trace_id, "observations": rows})


def test_all_pages_of_traces_are_read_with_langfuse_4():
    api = TraceApi()
    told: list[str] = []
    found = fetch_since(SimpleNamespace(api=SimpleNamespace(trace=api)), timedelta(hours=1), told.append)
    assert [one.trace_id for one in found] == [f"t-{number}" for number in range(1, 130)]
    assert [query["page"] for query in api.asked] == [1, 2]
    ago = datetime.now(UTC) - api.asked[0]["from_timestamp"]
    assert timedelta(hours=1) <= ago < timedelta(hours=2)
    assert told == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (httpx.ConnectError("refused"), "http://langfuse.test can't be reached: refused"),
        (httpx.ReadTimeout(""), "http://langfuse.test can't be reached: ReadTimeout"),
    ],
)
def test_what_keeps_it_from_being_asked_is_one_sentence(monkeypatch, error, message):
    monkeypatch.setenv("LANGFUSE_BASE_URL", "http://langfuse.test")

    def get(trace_id: str) -> None:
        raise error

    with pytest.raises(NotReachable) as raised:
        fetch(SimpleNamespace(api=SimpleNamespace(trace=SimpleNamespace(get=get))), "t")
    assert str(raised.value) == message


def test_keys_that_are_missing_are_named(monkeypatch):
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
    monkeypatch.delenv("LANGFUSE_SECRET_KEY", raising=False)
    with pytest.raises(NotReachable, match=r"^set LANGFUSE_SECRET_KEY to read traces from Langfuse$"):
        client_of_environment()
