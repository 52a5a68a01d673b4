"""Where Python carries the context by itself, where it does not, and that `carry_context` does there."""

import asyncio
import functools
import inspect
import pickle
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace

from pytest_langfuse.tracing import carry_context, extract_context, get_request_context, inject_headers, request_context

#: `threading.Thread` inherits the context where Python says so (3.14, free-threaded builds first).
THREADS_INHERIT = bool(getattr(sys.flags, "thread_inherit_context", False))


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as executor:
        # The thread exists, and has a context of its own.
        executor.submit(int).result()
        yield executor


def here():
    """User, and the span that is current."""
    return get_request_context().user_id, trace.get_current_span().get_span_context().span_id


EMPTY = (None, 0)


def in_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


async def run_in_executor(function):
    return await asyncio.get_running_loop().run_in_executor(None, function)


async def task(function):
    async def run():
        return function()

    return await asyncio.create_task(run())


async def task_group(function):
    async def run():
        return function()

    async with asyncio.TaskGroup() as group:
        made = group.create_task(run())
    return made.result()


async def call_soon(function):
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: future.set_result(function()))
    return await future


CARRIES = {
    "task": (task, True),
    "TaskGroup": (task_group, True),
    "gather": (lambda function: asyncio.gather(task(function)), True),
    "call_soon": (call_soon, True),
    "to_thread": (asyncio.to_thread, True),
    "run_in_executor": (run_in_executor, False),
    "Thread": (in_thread, THREADS_INHERIT),
}


@pytest.mark.parametrize("way", CARRIES)
async def test_what_python_carries_and_what_it_does_not(client, way):
    go, carried = CARRIES[way]
    with request_context(user_id="u"), client.start_as_current_observation(name="a"):
        for function, expected in ((here, here() if carried else EMPTY), (carry_context(here), here())):
            found = go(function)
            found = await found if inspect.isawaitable(found) else found
            assert (found[0] if isinstance(found, list) else found) == expected


def test_executors(client, pool):
    with request_context(user_id="u"), client.start_as_current_observation(name="a"):
        assert pool.submit(here).result() == EMPTY
        assert pool.submit(carry_context(here)).result() == here()
        assert list(pool.map(carry_context(lambda _: here()), range(3))) == [here()] * 3
    # Nothing stays behind in the thread.
    assert pool.submit(here).result() == EMPTY


def test_what_is_observed_there_belongs_to_the_caller(client, pool, langfuse_spans):
    def work():
        with client.start_as_current_observation(name="work"):
            pass

    with request_context(user_id="u", session_id="s"), client.start_as_current_observation(name="a"):
        pool.submit(carry_context(work)).result()

    langfuse_spans.assert_tree("""
        * user_id=u session_id=s
        span a
          span work
    """)


def test_a_queue_between_threads(client):
    jobs = queue.SimpleQueue()
    found = {}

    def consume():
        while (job := jobs.get()) is not None:
            context, user = job
            with context:
                found[user] = here()
            assert here() == EMPTY

    consumers = [threading.Thread(target=consume) for _ in range(3)]
    for consumer in consumers:
        consumer.start()
    expected = {}
    for number in range(100):
        with request_context(user_id=f"u{number}"), client.start_as_current_observation(name="a"):
            expected[f"u{number}"] = here()
            jobs.put((carry_context(), f"u{number}"))
    for _ in consumers:
        jobs.put(None)
    for consumer in consumers:
        consumer.join()

    assert found == expected


def test_one_context_in_many_threads_at_once(client):
    barrier = threading.Barrier(8)
    with request_context(user_id="u"), client.start_as_current_observation(name="a"):
        context, expected = carry_context(), here()

    def enter(_):
        with context:
            barrier.wait(10)
            inside = here()
            with context:
                nested = here()
            barrier.wait(10)
            return inside, nested, here()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(enter, range(8))) == [(expected,) * 3] * 8
        assert set(pool.map(lambda _: here(), range(8))) == {EMPTY}


async def test_every_kind_of_function_keeps_its_kind(client):
    async def coroutine(value):
        await asyncio.sleep(0)
        return value, here()

    def generator(value):
        sent = yield value, here()
        yield sent, here()
        return "end"

    async def async_generator(value):
        yield value, here()
        await asyncio.sleep(0)
        yield value, here()

    with request_context(user_id="u"), client.start_as_current_observation(name="a"):
        expected = here()
        carried = [carry_context(one) for one in (coroutine, generator, async_generator)]
        partial = carry_context(functools.partial(coroutine, 5))

    assert inspect.iscoroutinefunction(carried[0])
    assert inspect.isgeneratorfunction(carried[1])
    assert inspect.isasyncgenfunction(carried[2])
    assert [one.__name__ for one in carried] == ["coroutine", "generator", "async_generator"]
    assert await carried[0](1) == (1, expected)
    assert await partial() == (5, expected)
    steps = carried[1](2)
    assert next(steps) == (2, expected)
    assert here() == EMPTY
    assert steps.send(3) == (3, expected)
    with pytest.raises(StopIteration, match="end"):
        next(steps)
    async for item in carried[2](4):
        assert item == (4, expected)
        assert here() == EMPTY


async def test_a_generator_closed_by_another_task_detaches_nothing_of_its(client, caplog):
    async def numbers():
        yield here()[0]
        yield 2

    with request_context(user_id="u"):
        steps = carry_context(numbers)()
    assert await asyncio.create_task(anext(steps)) == "u"
    with client.start_as_current_observation(name="other"):
        before = here()
        await asyncio.create_task(steps.aclose())
        assert here() == before
    assert "Failed to detach" not in caplog.text


def test_an_error_is_the_functions(client, pool):
    def fail():
        raise KeyError

    with request_context(user_id="u"):
        failing = carry_context(fail)
    for _ in range(2):
        with pytest.raises(KeyError):
            pool.submit(failing).result()
    assert pool.submit(here).result() == EMPTY


def test_what_was_left_open_inside_does_not_stay(client, pool):
    def careless():
        otel_context.attach(extract_context({}))
        client.start_as_current_observation(name="open").__enter__()
        otel_context.attach(otel_context.set_value("k", "v"))

    with request_context(user_id="u"):
        pool.submit(carry_context(careless)).result()
        context = carry_context()

    def enter():
        with context:
            careless()

    pool.submit(enter).result()
    assert pool.submit(here).result() == EMPTY
    assert pool.submit(otel_context.get_value, "k").result() is None


def test_leaving_elsewhere_than_entered_detaches_nothing(client, pool, caplog):
    with request_context(user_id="u"):
        context = carry_context()
    context.__enter__()
    try:
        with request_context(user_id="theirs"):
            pool.submit(context.__exit__, None, None, None).result()
            assert here()[0] == "theirs"
        assert here()[0] == "u"
    finally:
        context.__exit__(None, None, None)
    with request_context(user_id="other"):
        other = carry_context()
    with other:
        context.__exit__(None, None, None)
        assert here()[0] == "other"
    assert here() == EMPTY
    assert "Failed to detach" not in caplog.text


def test_arguments_and_results_are_handed_on(pool):
    def work(*args, key):
        return args, key

    assert pool.submit(carry_context(work), 1, 2, key=3).result() == ((1, 2), 3)
    assert carry_context(len)("abc") == 3


def test_another_value_is_refused():
    with pytest.raises(TypeError, match=r"carry_context\(\) takes a function or nothing, not 7. Fix: carry_context\("):
        carry_context(7)


def test_it_does_not_go_to_another_process(client):
    with request_context(user_id="u"), client.start_as_current_observation(name="a"):
        context = carry_context()
        with pytest.raises(TypeError, match=r"Fix: send inject_headers\({}\) there"):
            pickle.dumps(context)
        headers = pickle.loads(pickle.dumps(inject_headers({})))
        assert trace.get_current_span(extract_context(headers)).get_span_context().span_id == here()[1]


class Proxy:
    """Like those of lazy-loading libraries and mocks: it has every attribute, none of the type that is expected."""

    def __getattr__(self, name):
        if name.startswith("_is") or name in {"__wrapped__", "_mark"}:
            raise AttributeError(name)
        return 5

    def __call__(self, item):
        return here()[0], item


def test_a_callable_whose_name_is_no_text():
    with request_context(user_id="ann"):
        work = carry_context(Proxy())
    assert work("item") == ("ann", "item")
    assert (work.__name__, isinstance(work.__wrapped__, Proxy)) == ("run", True)
