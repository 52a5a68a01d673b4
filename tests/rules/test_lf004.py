"""LF004: a trace that is split, since the context was lost on the way to other work."""

import asyncio
import contextvars
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import ThreadPool

import pytest
from langchain_core.runnables import RunnableLambda
from langfuse import observe
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from pytest_langfuse.tracing import carry_context


@pytest.fixture
def bot(client):
    """An application of one tool."""
    return Bot(client)


class Bot:
    def __init__(self, langfuse) -> None:
        self.langfuse = langfuse

    def search(self, *_) -> str:
        with self.langfuse.start_as_current_observation(name="search", as_type="retriever"):
            return "found"

    def answering(self):
        return self.langfuse.start_as_current_observation(name="answer")


def lines(findings) -> list[str]:
    return [str(finding) for finding in findings]


def line_of(function, text: str) -> int:
    """The line of a function that has this text."""
    import inspect

    source, first = inspect.getsourcelines(function)
    return first + next(index for index, line in enumerate(source) if text in line)


# -- red -----------------------------------------------------------------------------------------------------------


def executor(bot):
    with bot.answering(), ThreadPoolExecutor(1, "pool") as pool:
        pool.submit(bot.search, "why?").result()


def test_an_executor(bot, find):
    executor(bot)
    here, start = "tests/rules/test_lf004.py", line_of(Bot.search, "start_as")
    expected = (
        f"LF004 context lost: 'search' ({here}:{start}, thread \"pool_0\") started a trace of its own while 'answer' "
        f"({here}:{line_of(executor, 'answering')}) was running in the thread that submitted it. "
        f"Fix: carry_context(search) in place of search at {here}:{line_of(executor, 'submit')}, "
        "or contextvars.copy_context().run with search after it."
    )
    assert lines(find("LF004")) == [expected]


def thread(bot):
    with bot.answering():
        started = threading.Thread(target=bot.search)
        started.start()
        started.join()


def class_of_thread(bot):
    class Search(threading.Thread):
        def run(self) -> None:
            bot.search()

    with bot.answering():
        (started := Search()).start()
        started.join()


def timer(bot):
    with bot.answering():
        (started := threading.Timer(0, bot.search)).start()
        started.join()


def executor_map(bot):
    with bot.answering(), ThreadPoolExecutor(1) as pool:
        list(pool.map(partial(bot.search), ["why?"]))


def run_in_executor(bot):
    async def answer() -> None:
        with bot.answering():
            await asyncio.get_running_loop().run_in_executor(None, bot.search)

    asyncio.run(answer())


def thread_pool(bot):
    with ThreadPool(1) as pool, bot.answering():
        pool.map(bot.search, ["why?"])


def callback(bot):
    proceed = threading.Event()
    with bot.answering(), ThreadPoolExecutor(1) as pool:
        future = pool.submit(proceed.wait, 10)
        future.add_done_callback(bot.search)
        proceed.set()


def task(bot):
    async def search() -> None:
        bot.search()

    async def answer() -> None:
        with bot.answering():
            await asyncio.create_task(search(), context=contextvars.Context())

    asyncio.run(answer())


def stream(bot):
    with bot.langfuse.start_as_current_observation(name="answer"):
        yield "one"
        yield bot.search()


def generator(bot):
    # As Starlette iterates over what an endpoint returns: each step in a copy of the same context.
    steps = stream(bot)
    for _ in range(3):
        contextvars.copy_context().run(next, steps, None)


async def astream(bot):
    with bot.langfuse.start_as_current_observation(name="answer"):
        yield "one"
        yield bot.search()


def async_generator(bot):
    async def answer() -> None:
        steps = astream(bot)
        for _ in range(3):
            await asyncio.create_task(anext(steps, None))

    asyncio.run(answer())


@pytest.mark.parametrize(
    ("run", "where", "fix"),
    [
        (thread, "in the thread that started this one", "build the thread started at"),
        (class_of_thread, "in the thread that started this one", "set thread.run = carry_context(thread.run) before"),
        (timer, "in the thread that started this one", "build the timer started at"),
        (executor_map, "in the thread that submitted it", "carry_context(search) in place of search at"),
        (run_in_executor, "in the thread that submitted it", "carry_context(search) in place of search at"),
        (thread_pool, "in the thread that gave it to the pool", "carry_context(search) in place of search at"),
        (callback, "in the thread that added the callback", "carry_context(search) in place of search at"),
        (task, "where its task was created with another context", "pass context=contextvars.copy_context() at"),
        (generator, "in the same generator, whose", "decorate stream with @observe()"),
        (async_generator, "in the same async generator, whose", "decorate astream with @observe()"),
    ],
)
def test_ways_in_which_it_is_lost(bot, find, run, where, fix):
    run(bot)
    (finding,) = find("LF004")
    assert finding.observation == "search"
    assert finding.place.line == line_of(Bot.search, "start_as")
    assert f"was running {where}" in finding.text
    assert finding.fix.startswith(fix)


@pytest.mark.parametrize(
    "give",
    [
        lambda pool, search: pool.apply(search, ("why?",)),
        lambda pool, search: pool.apply_async(search, ("why?",)).get(),
        lambda pool, search: pool.map_async(search, ["why?"]).get(),
        lambda pool, search: pool.starmap(search, [("why?",)]),
        lambda pool, search: pool.starmap_async(search, [("why?",)]).get(),
        lambda pool, search: list(pool.imap(search, ["why?"])),
        lambda pool, search: list(pool.imap_unordered(search, ["why?"])),
    ],
)
def test_each_way_to_give_work_to_a_thread_pool(bot, find, give):
    with ThreadPool(1) as pool, bot.answering():
        give(pool, bot.search)
    (finding,) = find("LF004")
    assert "gave it to the pool" in finding.text


def test_pools_of_processes_work_as_before():
    with get_context("spawn").Pool(1) as pool:
        assert pool.map(len, ["why?"]) == [4]
        assert pool.apply_async(len, ["why?"]).get(10) == 4


def test_one_finding_for_each_work(bot, find):
    def twice() -> None:
        bot.search()
        bot.search()

    with bot.answering(), ThreadPoolExecutor(2) as pool:
        pool.submit(twice).result()
        pool.submit(bot.search).result()
    assert len(find("LF004")) == 2


# -- green ---------------------------------------------------------------------------------------------------------


def carried_to_an_executor(bot):
    with bot.answering(), ThreadPoolExecutor(1) as pool:
        pool.submit(carry_context(bot.search)).result()
        pool.submit(contextvars.copy_context().run, bot.search).result()


def to_thread(bot):
    async def answer() -> None:
        with bot.answering():
            await asyncio.to_thread(bot.search)
            await asyncio.create_task(asyncio.to_thread(bot.search))

    asyncio.run(answer())


def nobody_was_running(bot):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(bot.search).result()
    RunnableLambda(bot.search).batch(["one", "two"])


def langchain_batch(bot):
    with bot.answering():
        RunnableLambda(bot.search).batch(["one", "two"])


def long_lived_worker(bot):
    """Its items come from everywhere, and each is a trace on purpose."""
    jobs = queue.Queue()

    def work() -> None:
        while jobs.get() is not None:
            bot.search()

    (worker := threading.Thread(target=work)).start()
    with bot.answering():
        jobs.put("one")
    jobs.put("two")
    jobs.put(None)
    worker.join()


def pool_of_an_earlier_request(bot):
    """The pool's thread was started while 'answer' was running; what it runs now was submitted later."""
    with ThreadPoolExecutor(1) as pool:
        with bot.answering():
            pool.submit(len, "why?").result()
        pool.submit(bot.search).result()


def thread_pool_of_an_earlier_request(bot):
    with bot.answering():
        pool = ThreadPool(1)
        pool.map(len, ["why?"])
    with pool:
        pool.map(bot.search, ["why?"])


def seeded_trace(bot):
    """A trace id that was given on purpose."""
    with bot.answering(), ThreadPoolExecutor(1) as pool:
        context = {"trace_id": bot.langfuse.create_trace_id(seed="order 1")}
        pool.submit(lambda: bot.langfuse.start_observation(name="search", trace_context=context).end()).result()


def linked(bot):
    """A new trace that links to the one before, as OpenTelemetry has it for batches."""
    tracer = bot.langfuse._otel_tracer

    def search(link) -> None:
        tracer.start_span("search", links=[link]).end()

    with bot.answering(), ThreadPoolExecutor(1) as pool:
        pool.submit(search, otel_trace.Link(otel_trace.get_current_span().get_span_context())).result()


def context_on_purpose(bot):
    """A server's span has the context that the request brought, which may be empty."""
    with bot.answering(), ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: bot.langfuse._otel_tracer.start_span("GET /", context=Context()).end()).result()


def not_current(bot):
    """An observation that was never made current loses nothing."""

    def steps():
        outer = bot.langfuse.start_observation(name="answer")
        yield bot.search()
        outer.end()

    list(steps())


def span_of_a_generator_that_has_ended(bot):
    def steps():
        with bot.answering():
            yield "one"
        yield bot.search()

    list(steps())


def submitter_has_ended(bot):
    """As a framework does that hands on the context of a request, which is over."""
    with bot.answering():
        context = contextvars.copy_context()
    with ThreadPoolExecutor(1) as pool:
        context.run(pool.submit, bot.search).result()


def root_on_purpose_in_a_task(bot):
    async def search() -> None:
        token = otel_context.attach(Context())
        bot.search()
        otel_context.detach(token)

    async def answer() -> None:
        with bot.answering():
            await asyncio.create_task(search())

    asyncio.run(answer())


def observed_generator(bot):
    @observe(name="answer")
    def steps():
        yield "one"
        yield bot.search()

    generator = steps()
    for _ in range(3):
        contextvars.copy_context().run(next, generator, None)


@pytest.mark.parametrize(
    "run",
    [
        carried_to_an_executor,
        to_thread,
        nobody_was_running,
        langchain_batch,
        long_lived_worker,
        pool_of_an_earlier_request,
        thread_pool_of_an_earlier_request,
        seeded_trace,
        linked,
        context_on_purpose,
        not_current,
        span_of_a_generator_that_has_ended,
        submitter_has_ended,
        root_on_purpose_in_a_task,
        observed_generator,
    ],
)
def test_silent(bot, find, langfuse_spans, run):
    run(bot)
    assert len(langfuse_spans) > 0
    assert lines(find("LF004")) == []


def test_silent_where_langfuse_shows_nothing_of_the_other_trace(bot, find):
    foreign = otel_trace.get_tracer("web.framework")
    with foreign.start_as_current_span("GET /"), ThreadPoolExecutor(1) as pool:
        pool.submit(bot.search).result()
    assert find("LF004") == []


def test_silent_for_a_second_root_of_the_same_trace(find, langfuse_fresh_client):
    class OneTrace(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return 0x0AF7651916CD43DD8448EB211C80319C

    bot = Bot(
        langfuse_fresh_client(
            public_key="pk-lf-orders",
            secret_key="sk-lf-orders",
            base_url="http://127.0.0.1:9",
            tracer_provider=TracerProvider(id_generator=OneTrace()),
        )
    )
    executor(bot)
    assert find("LF004") == []
    assert len(find("LF027")) == 1
