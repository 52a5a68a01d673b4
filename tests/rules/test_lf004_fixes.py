"""The fixes that LF004 names, each typed into the application: one trace is left."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

_HEAD = """
import asyncio, contextvars, functools, threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.dummy import Pool as DummyPool, Process as DummyProcess
from multiprocessing.pool import ThreadPool
from threading import Thread

import wrapt
from langchain_core.runnables import RunnableLambda
from langfuse import get_client, observe
from tenacity import retry

from pytest_langfuse.tracing import carry_context

def answering():
    return get_client().start_as_current_observation(name="answer")

@observe()
def search(*_):
    return "found"

@retry
def persistent(*_):
    return search()

@functools.lru_cache
def remembered(*_):
    return search()

class Tools:
    @observe()
    def search(self, *_):
        return "found"

    def __call__(self, *_):
        return search()

class Query:
    def __init__(self, *_):
        search()

async def find():
    return search()

class Proxy:
    def __getattr__(self, name):
        if name in {"__wrapped__", "__code__"}:
            return self
        raise AttributeError(name)

    def __call__(self, *_):
        return search()

@wrapt.decorator
def counted(function, instance, args, kwargs):
    return function(*args, **kwargs)

class Counted:
    @counted
    def search(self, *_):
        return search()

def of_itself(*_):
    return search()

of_itself.__wrapped__ = of_itself
tools = Tools()
proxy = Proxy()
chain = RunnableLambda(search)
"""
_THREAD = """
def answer():
    with answering():
        {}
        thread.start()  # here
        thread.join()
"""
_THREAD_CLASS = """
class Search(threading.Thread):
    def run(self):
        search()
"""
_EXECUTOR = """
def answer():
    with answering(), ThreadPoolExecutor(1) as pool:
        {}  # here
"""
_POOL = """
def answer():
    with answering(), {}(1) as pool:
        {{}}  # here
"""
_IN_LOOP = """
async def in_loop():
    with answering():
        {}  # here

def answer():
    asyncio.run(in_loop())
"""
_RUNNER = """
def answer():
    with asyncio.Runner() as runner:
        with answering():
            {}  # here
"""
_CALLBACK = """
def answer():
    proceed = threading.Event()
    with answering(), ThreadPoolExecutor(1) as pool:
        future = pool.submit(proceed.wait, 10)
        {}  # here
        proceed.set()
"""
_GENERATOR = """
{}
    with answering():
        yield "one"
        yield search()

def answer():
    steps = stream()
    for _ in range(3):
        contextvars.copy_context().run(next, steps, None)
"""
_ASYNC_GENERATOR = (
    _GENERATOR.partition("def answer")[0]
    + """
async def in_tasks():
    steps = stream()
    for _ in range(3):
        await asyncio.create_task(anext(steps, None))

def answer():
    asyncio.run(in_tasks())
"""
)


@dataclass
class Way:
    """A way to hand work over, the fix that LF004 names, and what it makes of the statement."""

    around: str
    statement: str
    fix: str
    fixed: Sequence[str]

    def source(self, statement: str) -> str:
        """The application with one of the statements."""
        return _HEAD + self.around.format(statement)


def thread(function: str, name: str) -> Way:
    return Way(
        _THREAD,
        f"thread = threading.Thread(target={function}, args=(1,))",
        f"build the thread started at HERE inside of 'answer', with target=carry_context({name}), "
        f"or target=contextvars.copy_context().run with {name} in front of args",
        [
            f"thread = threading.Thread(target=carry_context({function}), args=(1,))",
            f"thread = threading.Thread(target=contextvars.copy_context().run, args=({function}, 1))",
        ],
    )


def timer(function: str, keyword: str, name: str) -> Way:
    return Way(
        _THREAD,
        f"thread = threading.Timer(0, {keyword}{function}, args=(1,))",
        f"build the timer started at HERE inside of 'answer', with function=carry_context({name}), "
        f"or function=contextvars.copy_context().run with {name} in front of args",
        [
            f"thread = threading.Timer(0, function=carry_context({function}), args=(1,))",
            f"thread = threading.Timer(0, function=contextvars.copy_context().run, args=({function}, 1))",
        ],
    )


def thread_with_run(class_: str, building: str, name: str) -> Way:
    return Way(
        class_ + _THREAD,
        f"thread = {building}",
        f"set thread.run = carry_context(thread.run) before the {name} is started at HERE",
        [f"thread = {building}; thread.run = carry_context(thread.run)"],
    )


def submit(function: str, name: str, phrase: str = "") -> Way:
    return Way(
        _EXECUTOR,
        f"pool.submit({function}, 1).result()",
        f"carry_context({name}) in place of {phrase or name} at HERE, "
        f"or contextvars.copy_context().run with {name} after it",
        [
            f"pool.submit(carry_context({function}), 1).result()",
            f"pool.submit(contextvars.copy_context().run, {function}, 1).result()",
        ],
    )


def pool(statement: str, function: str, name: str, phrase: str = "", *, kind: str = "ThreadPool") -> Way:
    return Way(
        _POOL.format(kind),
        statement.replace("FUNCTION", function),
        f"carry_context({name}) in place of {phrase or name} at HERE",
        [statement.replace("FUNCTION", f"carry_context({function})")],
    )


def task(around: str, statement: str) -> Way:
    return Way(
        around,
        statement.replace("CONTEXT", "contextvars.Context()"),
        "pass context=contextvars.copy_context() at HERE",
        [statement.replace("CONTEXT", "contextvars.copy_context()")],
    )


_LAMBDA = "lambda _: search()"
_WAYS = {
    "thread": thread("search", "search"),
    "thread, method": thread("tools.search", "search"),
    "thread, partial": thread("functools.partial(search)", "search"),
    "thread, decorator of a library": thread("persistent", "persistent"),
    "thread, cached": thread("remembered", "remembered"),
    "thread, class": thread("Query", "Query"),
    "thread, callable": thread("tools", "function"),
    "thread, proxy": thread("proxy", "function"),
    "thread, method of a proxy": thread("Counted().search", "search"),
    "thread, wraps itself": thread("of_itself", "of_itself"),
    "thread, lambda": thread(_LAMBDA, "lambda: ..."),
    "thread, built before": Way(
        """
def answer():
    {}
        thread.start()  # here
        thread.join()
""",
        "thread = Thread(target=search)\n    with answering():",
        thread("search", "search").fix,
        [
            "with answering():\n        thread = Thread(target=carry_context(search))",
            "with answering():\n        thread = Thread(target=contextvars.copy_context().run, args=[search])",
        ],
    ),
    "thread, named process": Way(
        _THREAD,
        "thread = DummyProcess(target=search)",
        thread("search", "search").fix,
        [
            "thread = DummyProcess(target=carry_context(search))",
            "thread = DummyProcess(target=contextvars.copy_context().run, args=[search])",
        ],
    ),
    "timer": timer("search", "", "search"),
    "timer, method": timer("tools.search", "function=", "search"),
    "thread class": thread_with_run(_THREAD_CLASS, "Search()", "Search"),
    "thread class, observed": thread_with_run(
        _THREAD_CLASS.replace("    def", "    @observe()\n    def"), "Search()", "Search"
    ),
    "thread class, runs its target": thread_with_run(
        _THREAD_CLASS.replace("search()", "super().run()"), "Search(target=search)", "Search"
    ),
    "thread, run is replaced": thread_with_run("", "threading.Thread(); thread.run = search", "Thread"),
    "submit": submit("search", "search"),
    "submit, method": submit("tools.search", "search"),
    "submit, partial": submit("functools.partial(search)", "search"),
    "submit, lambda": submit(_LAMBDA, "lambda: ...", "the lambda"),
    "submit, callable": submit("tools", "function", "the function"),
    "submit, class": submit("Query", "Query"),
    "submit, function of a library": submit("chain.invoke", "invoke"),
    "executor map": pool("list(pool.map(FUNCTION, [1]))", "search", "search", kind="ThreadPoolExecutor"),
    "run_in_executor": Way(
        _IN_LOOP,
        "await asyncio.get_running_loop().run_in_executor(None, search, 1)",
        submit("search", "search").fix,
        [
            "await asyncio.get_running_loop().run_in_executor(None, carry_context(search), 1)",
            "await asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, search, 1)",
        ],
    ),
    "apply": pool("pool.apply(FUNCTION, (1,))", "search", "search"),
    "map": pool("pool.map(FUNCTION, [1])", "tools.search", "search"),
    "starmap": pool("pool.starmap(FUNCTION, [(1,)])", "tools", "function", "the function", kind="DummyPool"),
    "imap": pool("list(pool.imap(FUNCTION, [1]))", _LAMBDA, "lambda: ...", "the lambda", kind="DummyPool"),
    "callback": Way(
        _CALLBACK,
        "future.add_done_callback(search)",
        "carry_context(search) in place of search at HERE, "
        "or functools.partial(contextvars.copy_context().run, search)",
        [
            "future.add_done_callback(carry_context(search))",
            "future.add_done_callback(functools.partial(contextvars.copy_context().run, search))",
        ],
    ),
    "task": task(_IN_LOOP, "await asyncio.create_task(find(), context=CONTEXT)"),
    "runner": task(_RUNNER, "runner.run(find(), context=CONTEXT)"),
    "runner that was built before": Way(
        _RUNNER.replace("        with answering", "        runner.get_loop()\n        with answering"),
        "runner.run(find())",
        "pass context=contextvars.copy_context() at HERE",
        ["runner.run(find(), context=contextvars.copy_context())"],
    ),
    "generator": Way(
        _GENERATOR,
        "def stream():",
        "decorate stream with @observe(), which keeps its context between steps",
        ["@observe()\ndef stream():"],
    ),
    "async generator": Way(
        _ASYNC_GENERATOR,
        "async def stream():",
        "decorate stream with @observe(), which keeps its context between steps",
        ["@observe()\nasync def stream():"],
    ),
}


@pytest.fixture
def run(client, langfuse_spans, tmp_path):
    """Runs an application, which has to search; returns how many traces it has made."""
    file = tmp_path / "app.py"

    def count_searches() -> int:
        return [one.name for one in langfuse_spans].count("search")

    def answer(source: str) -> int:
        traces, searches = len(langfuse_spans.traces), count_searches()
        application: dict[str, object] = {}
        exec(compile(source, file, "exec"), application)
        application["answer"]()
        assert count_searches() == searches + 1
        return len(langfuse_spans.traces) - traces

    return answer


@pytest.mark.parametrize("way", _WAYS.values(), ids=_WAYS)
def test_what_the_fix_makes_of_it_is_one_trace(run, find, way, tmp_path):
    source = way.source(way.statement)
    assert run(source) == 2
    (finding,) = find("LF004")
    number = next((at for at, line in enumerate(source.splitlines(), 1) if line.endswith("# here")), 0)
    assert finding.fix == way.fix.replace("HERE", f"{tmp_path / 'app.py'}:{number}")
    assert len(way.fixed) == 1 + way.fix.count(", or ")
    for fixed in way.fixed:
        assert run(way.source(fixed)) == 1, fixed
    assert find("LF004") == [finding]


_LIBRARY = """
from concurrent.futures import ThreadPoolExecutor

class Searches:
    def __init__(self, search):
        self.search = search

    def call(self):
        return self.search()

    def of_its_own(self):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(self.call).result()

def given(search):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(search).result()
"""
_INSTRUMENT = (
    "call ThreadingInstrumentor().instrument() of opentelemetry-instrumentation-threading before a library hands over "
    "the work at app.py:5"
)


@pytest.mark.parametrize(
    ("call", "fix"),
    [
        (
            "Searches(search).of_its_own()",
            _INSTRUMENT,
        ),
        (
            "given(search)",
            submit("search", "search").fix.replace("HERE", "app.py:5"),
        ),
    ],
)
def test_what_a_library_hands_over(client, find, tmp_path, call, fix, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"search": lambda: client.start_observation(name="search").end(), "client": client}
    exec(compile(_LIBRARY, tmp_path / "site-packages" / "library.py", "exec"), names)
    names["search"].__name__ = "search"
    source = f"""
def answer():
    with client.start_as_current_observation(name="answer"):

        {call}
"""
    exec(compile(source, tmp_path / "app.py", "exec"), names)
    names["answer"]()
    (finding,) = find("LF004")
    assert finding.fix == fix


def test_a_thread_of_a_library_is_not_the_applications(client, find, langfuse_spans):
    import logging.handlers
    import queue

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            client.start_observation(name="record").end()

    records = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(records, Handler())
    with client.start_as_current_observation(name="answer"):
        listener.start()
    records.put(logging.makeLogRecord({}))
    listener.stop()
    assert len(langfuse_spans.traces) == 2
    assert find("LF004") == []
