"""Routes of a test over the stand-in, as `langfuse_api` gives them."""

import asyncio
import sys
from collections.abc import Iterator

import httpx
import pytest
import respx
from langfuse import Langfuse

from pytest_langfuse.recording.http.in_process import HandlerStack, async_client
from pytest_langfuse.standin.api_router import build_router
from pytest_langfuse.standin.langfuse_router import LangfuseRouter
from pytest_langfuse.standin.stand_in import StandIn

PROMPT = "/api/public/v2/prompts/greeting"


@pytest.fixture
def api(stand_in: StandIn, handlers: HandlerStack) -> Iterator[LangfuseRouter]:
    with build_router(stand_in) as api:
        handlers.handler = api.handler
        yield api


def test_without_routes_the_stand_in_answers(langfuse: Langfuse, api: LangfuseRouter) -> None:
    api.prompt("greeting", "Hello {{name}}")
    assert langfuse.get_prompt("greeting").compile(name="Ann") == "Hello Ann"
    assert api.calls.last.request.url.path == PROMPT
    assert api.calls.last.response.json()["prompt"] == "Hello {{name}}"


def test_a_route_wins_for_every_host(langfuse: Langfuse, api: LangfuseRouter) -> None:
    prompt = StandIn().prompt("greeting", "from the route").as_json()
    route = api.get(path=PROMPT).respond(json=prompt)
    assert langfuse.get_prompt("greeting").prompt == "from the route"
    assert route.called
    assert route.calls.last.request.url.host == "langfuse.invalid"
    assert route.calls.last.request.headers["x-langfuse-sdk-name"] == "python"


def test_a_relative_url_is_enough(langfuse: Langfuse, api: LangfuseRouter, stand_in: StandIn) -> None:
    # langfuse 4 sends scores as events.
    routes = [api.post(path).respond(503) for path in ("/api/public/scores", "/api/public/ingestion")]
    langfuse.create_score(name="s", value=1, trace_id="a" * 32)
    langfuse.flush()
    assert any(route.called for route in routes)
    assert stand_in.scores == []


@pytest.mark.slow
def test_a_side_effect_reaches_the_app(langfuse: Langfuse, api: LangfuseRouter) -> None:
    route = api.get(path=PROMPT).mock(side_effect=httpx.ConnectError)
    with pytest.raises(httpx.ConnectError):
        langfuse.get_prompt("greeting", max_retries=0)
    assert langfuse.get_prompt("greeting", max_retries=1, fallback="Bye").is_fallback
    assert route.call_count == 3


def test_a_spy_lets_the_stand_in_answer(langfuse: Langfuse, api: LangfuseRouter) -> None:
    api.prompt("greeting", "Hello")
    route = api.get(path=PROMPT).pass_through()
    assert langfuse.get_prompt("greeting").prompt == "Hello"
    assert route.calls.last.response.json()["name"] == "greeting"
    assert api.calls.last.has_response


def test_beside_a_users_own_respx_mock(langfuse: Langfuse, api: LangfuseRouter, respx_mock: respx.MockRouter) -> None:
    openai = respx_mock.post("https://api.openai.com/v1/chat/completions").respond(json={"choices": []})
    api.prompt("greeting", "Hello")

    assert httpx.post("https://api.openai.com/v1/chat/completions").json() == {"choices": []}
    assert langfuse.get_prompt("greeting").prompt == "Hello"
    langfuse.create_score(name="s", value=1, trace_id="a" * 32)
    langfuse.flush()

    assert (openai.call_count, respx_mock.calls.call_count) == (1, 1)
    with pytest.raises(Exception, match="not mocked"):
        httpx.get("https://elsewhere.invalid/")


@pytest.mark.asyncio
async def test_coroutines_as_side_effects(stand_in: StandIn, api: LangfuseRouter) -> None:
    async def later(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        return httpx.Response(418, request=request)

    api.get(path=PROMPT).mock(side_effect=later)
    passing = api.get(path="/api/public/health").pass_through()
    handlers = HandlerStack(api.handler)
    async with async_client(None, timeout=5, headers=None, handlers=handlers) as client:
        assert (await client.get(f"https://l.invalid{PROMPT}")).status_code == 418
        assert (await client.get("https://l.invalid/api/public/health")).status_code == 200
        assert (await client.get("https://l.invalid/api/public/projects")).status_code == 200
    assert passing.called
    assert api.calls.call_count == 3


def test_everything_is_as_before_afterwards(stand_in: StandIn) -> None:
    stand_in.prompt("kept", "from a session fixture")
    with build_router(stand_in) as api:
        api.get(path=PROMPT).respond(200)
        api.prompt("greeting", "gone")
        api.prompt("kept", "changed")
    assert [(prompt.name, prompt.prompt) for prompt in stand_in.prompts] == [("kept", "from a session fixture")]
    assert len(api.routes) == 0


def test_routes_that_must_be_called() -> None:
    with build_router(StandIn()) as api:
        api.get(path=PROMPT).respond(200)
    with (
        pytest.raises(AssertionError, match="some routes were not called"),
        build_router(StandIn(), assert_all_called=True) as api,
    ):
        api.get(path=PROMPT).respond(200)


def test_without_respx_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pytest_langfuse.standin.langfuse_router")
    monkeypatch.setitem(sys.modules, "respx", None)
    with pytest.raises(pytest.fail.Exception) as raised:
        build_router(StandIn())
    assert raised.value.msg == "langfuse_api needs respx: pip install 'pytest-langfuse[respx]'"
    assert raised.value.pytrace is False
