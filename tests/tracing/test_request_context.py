"""User, session, request, tags and metadata reach every observation below, and nothing else."""

import asyncio
import contextvars
import logging
import threading

import pytest
from opentelemetry import context as otel_context

from pytest_langfuse.tracing import RequestContext, get_request_context, request_context, run_with_context
from pytest_langfuse.tracing import context as context_module


@pytest.fixture(autouse=True)
def _warn_anew():
    context_module._warned.clear()


@pytest.fixture
def observe(client, langfuse_spans):
    """Makes an observation and returns it as Langfuse shows it."""

    def observe(name="x"):
        client.start_observation(name=name).end()
        return langfuse_spans.all(f"span {name}")[-1]

    return observe


def test_every_value_reaches_an_observation(observe):
    with request_context(
        user_id="u", session_id="s", request_id="r", tags=["a", "b"], metadata={"tenant": "acme"}
    ) as current:
        found = observe()
        assert get_request_context() is current

    assert (found.user_id, found.session_id, sorted(found.tags)) == ("u", "s", ["a", "b"])
    assert (found.metadata["tenant"], found.metadata["request_id"]) == ("acme", "r")
    assert observe().user_id is None
    assert get_request_context() == RequestContext()


def test_it_also_marks_the_observation_that_is_current(client, langfuse_spans):
    with client.start_as_current_observation(name="root"), request_context(user_id="u"):
        pass

    langfuse_spans.assert_tree("span root  user_id=u")


def test_nested_contexts_add_up_and_are_restored(observe):
    with request_context(user_id="u1", session_id="s", tags=["a"], metadata={"k": "1"}):
        with request_context(user_id="u2", tags=["b", "a"], metadata={"l": "2"}):
            assert get_request_context() == RequestContext(
                user_id="u2", session_id="s", tags=("a", "b"), metadata={"k": "1", "l": "2"}
            )
            inner = observe()
        outer = observe()
        assert get_request_context() == RequestContext(user_id="u1", session_id="s", tags=("a",), metadata={"k": "1"})

    assert (inner.user_id, inner.session_id, sorted(inner.tags)) == ("u2", "s", ["a", "b"])
    assert (outer.user_id, list(outer.tags)) == ("u1", ["a"])
    assert "l" not in outer.metadata


def test_it_is_restored_when_the_block_raises():
    with pytest.raises(RuntimeError), request_context(user_id="u"):
        raise RuntimeError
    assert get_request_context().user_id is None


def test_an_instance_can_be_entered_again_and_nested_in_itself():
    entering = request_context(user_id="u")
    for _ in range(2):
        with entering:
            with entering:
                assert get_request_context().user_id == "u"
            assert get_request_context().user_id == "u"
        assert get_request_context().user_id is None


async def test_async_with_and_tasks(observe, langfuse_spans):
    seen = {}
    shared = request_context(session_id="s")

    async def work(user):
        async with request_context(user_id=user), shared:
            await asyncio.sleep(0)
            child = asyncio.create_task(asyncio.sleep(0, get_request_context()))
            await asyncio.sleep(0.001)
            observe(user)
            seen[user] = get_request_context(), await child

    await asyncio.gather(*(work(f"u{number}") for number in range(20)))
    assert get_request_context() == RequestContext()

    users = {observation.name: observation.user_id for observation in langfuse_spans}
    assert users == {f"u{number}": f"u{number}" for number in range(20)}
    assert {observation.session_id for observation in langfuse_spans} == {"s"}
    assert all(current.user_id == user == child.user_id for user, (current, child) in seen.items())


def test_threads_get_it_with_a_copied_context():
    with request_context(user_id="u"):
        context = contextvars.copy_context()
    found = []
    thread = threading.Thread(target=lambda: found.append(context.run(get_request_context).user_id))
    thread.start()
    thread.join()

    assert found == ["u"]


def test_run_with_context_takes_both_forms_and_hands_everything_on():
    def function(*args, **kwargs):
        return args, kwargs, get_request_context().user_id

    assert run_with_context({"user_id": "u"}, function, 1, two=2) == ((1,), {"two": 2}, "u")
    assert run_with_context(RequestContext(user_id="v"), function) == ((), {}, "v")
    assert get_request_context().user_id is None


async def test_run_with_context_covers_what_the_function_returns():
    async def coroutine():
        await asyncio.sleep(0)
        return get_request_context().user_id

    def generator():
        yield get_request_context().user_id
        yield get_request_context().user_id
        return "end"

    async def async_generator():
        yield get_request_context().user_id
        await asyncio.sleep(0)
        yield get_request_context().user_id

    assert await run_with_context({"user_id": "u"}, coroutine) == "u"
    found = [(item, get_request_context().user_id) for item in run_with_context({"user_id": "u"}, generator)]
    steps = run_with_context({"user_id": "u"}, async_generator)
    found += [(item, get_request_context().user_id) async for item in steps]

    assert found == [("u", None)] * 4


def test_a_generators_own_context_lasts_over_its_steps():
    def generator():
        with request_context(session_id="s"):
            yield get_request_context()
            yield get_request_context()

    steps = run_with_context({"user_id": "u"}, generator)
    expected = RequestContext(user_id="u", session_id="s")
    assert next(steps) == expected
    assert get_request_context() == RequestContext()
    assert next(steps) == expected
    assert list(steps) == []
    assert get_request_context() == RequestContext()


def test_a_generator_is_still_a_generator():
    received = []

    def generator():
        try:
            received.append((yield 1))
            try:
                yield 2
            except KeyError:
                yield 3
        finally:
            received.append("closed")

    steps = run_with_context({}, generator)
    assert next(steps) == 1
    assert steps.send("sent") == 2
    assert steps.throw(KeyError()) == 3
    steps.close()
    assert received == ["sent", "closed"]


@pytest.mark.parametrize("name", ["user_id", "session_id", "request_id"])
def test_a_long_id_is_cut_but_stays_one_id(lines, name):
    one, other = "x" * 300 + "1", "x" * 300 + "2"
    first = getattr(RequestContext(**{name: one}), name)

    assert len(first) == 200
    assert first == getattr(RequestContext(**{name: one}), name)
    assert first != getattr(RequestContext(**{name: other}), name)
    assert lines() == [f"{name} has 301 characters; Langfuse takes 200, so it is cut. Logged once."]
    assert getattr(RequestContext(**{name: "y" * 200}), name) == "y" * 200


def test_long_tags_and_metadata_arrive_cut(observe, lines):
    with request_context(
        tags=["t" * 300], metadata={"text": "m" * 300, "quoted": '"' * 150, "object": {"k": "v" * 300}}
    ):
        found = observe()

    assert list(found.tags) == ["t" * 199 + "…"]
    for key in ("text", "quoted", "object"):
        assert 90 <= len(found.span.attributes[f"langfuse.trace.metadata.{key}"]) <= 200, key
    assert not any("Dropping" in line for line in lines())


def test_values_that_are_no_text_become_text(observe):
    current = RequestContext(user_id=7, session_id="", tags="solo", metadata={"n": 1, "none": None, 3: "three"})

    assert (current.user_id, current.session_id, current.tags) == ("7", None, ("solo",))
    assert dict(current.metadata) == {"n": 1, "3": "three"}
    with request_context(current):
        assert str(observe().metadata["n"]) == "1"


def test_it_is_frozen_and_hashable():
    current = RequestContext(user_id="u", metadata={"k": []})

    with pytest.raises(AttributeError):
        current.user_id = "v"
    with pytest.raises(TypeError):
        current.metadata["k"] = 1
    assert hash(current) == hash(RequestContext(user_id="u", metadata={"k": []}))


@pytest.mark.parametrize(
    "call", [lambda: request_context(usr_id="u"), lambda: run_with_context({"usr_id": "u"}, print)]
)
def test_a_wrong_keyword_suggests(call):
    with pytest.raises(TypeError, match="unknown keyword 'usr_id', did you mean 'user_id'"):
        call()


def test_a_failure_of_the_sdk_does_not_reach_the_application(monkeypatch, caplog):
    def broken(**kwargs):
        raise RuntimeError("broken SDK")

    monkeypatch.setattr(context_module, "propagate_attributes", broken)
    caplog.set_level(logging.WARNING)
    context_module.failures.forget()
    with request_context(user_id="u"):
        assert get_request_context().user_id == "u"

    assert "Tracing failed while setting the request's context" in caplog.text
    assert otel_context.get_value("pytest_langfuse.request_context") is None
