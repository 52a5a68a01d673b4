"""A wrong call of a fixture is one sentence at the line of the test: no line of ours is shown."""

import pytest

CALLS = [
    ("langfuse_outage", "('hangs')", "ValueError: *unknown fault 'hangs', did you mean 'hang'?*"),
    ("langfuse_outage", "('hang', afer=1)", "TypeError: *unknown option 'afer', did you mean 'after'?*"),
    ("langfuse_outage", "('hang', rate=3)", "ValueError: *rate: expected a number above 0 and at most 1, got 3"),
    (
        "langfuse_outage",
        "('hang', paths='spans')",
        "ValueError: *paths: unknown endpoint 'spans', expected one of otlp, scores*",
    ),
    ("langfuse_outage", "('hang', retry_after=1)", "TypeError: *retry_after is a header of an HTTP status*"),
    ("langfuse_outage", "()", 'TypeError: *expected the name of a fault, such as "hang"'),
    ("langfuse_clock", ".advance(-1)", "ValueError: *a clock does not go back, use seconds >= 0"),
    ("langfuse_clock", ".advance('1')", "TypeError: *(seconds='1'): expected a number of seconds"),
    ("langfuse_process", ".start()", "TypeError: *needs arguments for Python*"),
    ("langfuse_process", ".start(3)", "TypeError: *an argument must be a string or a path, not 3: write '3'"),
    (
        "langfuse_process",
        ".start('x', env={'A': 1})",
        "TypeError: *env*'A'* must be a string, a path or None (removes the variable), not 1",
    ),
    ("langfuse_process", ".start('x', cwd='nowhere')", "NotADirectoryError: *cwd='nowhere' is not a directory"),
    (
        "langfuse_process",
        ".start_command('nosuch')",
        "FileNotFoundError: *program 'nosuch' not found or not executable",
    ),
    ("langfuse_api", ".prompt('a', 3)", "TypeError: prompt 'a': expected a text or a list of chat messages, got 3"),
    (
        "langfuse_api",
        ".prompt('a', 'b', labels='prod')",
        "TypeError: prompt 'a': labels must be a list of texts, got 'prod'; write labels=*",
    ),
    ("langfuse_api", ".prompt('a', 'b', tags=3)", "TypeError: prompt 'a': tags must be a list of texts, got 3"),
    ("langfuse_api", ".prompt('a', 'b', version='x')", "TypeError: prompt 'a': version must be an integer, got 'x'"),
    ("langfuse_api", ".prompt('a', 'b', version=0)", "ValueError: prompt 'a': version must be at least 1, got 0"),
    ("langfuse_api", ".prompt('a', 'x', type='chat')", "ValueError: prompt 'a': type='chat' needs a list of messages"),
    (
        "langfuse_spans",
        ".wait_for(count=0)",
        "ValueError: wait_for(count=0): expected a whole number of at least 1",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("fixture", "call", "message"), CALLS, ids=lambda value: value[:30])
def test_one_sentence_at_the_line_of_the_test(app: pytest.Pytester, fixture: str, call: str, message: str) -> None:
    app.makepyfile(test_it=f"def test_it({fixture}):\n    {fixture}{call}\n")
    result = app.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f">*{fixture}{call}", f"E*{message}", "test_it.py:2: *Error"])
    assert "/pytest_langfuse/" not in result.stdout.str()


TRACING = [
    ("init_tracing(timeout='x')", "pytest_langfuse.tracing.ConfigError: timeout='x' is not a number. *"),
    ("init_tracing(5)", "pytest_langfuse.tracing.ConfigError: config=5 is not a TracingConfig. *"),
    (
        "init_tracing(mask=5, timout=1)",
        "pytest_langfuse.tracing.ConfigError: unknown setting 'timout', did you mean 'timeout'?",
    ),
    (
        "get_tracing_config(export='htp')",
        "pytest_langfuse.tracing.ConfigError: export='htp' is not known (did you mean*",
    ),
    ("shutdown_tracing('x')", "TypeError: shutdown_tracing(): timeout='x' is not a number. *"),
    (
        "safe_trace('a', as_type='tol')",
        "ValueError: *as_type='tol' is not known (did you mean 'tool'?). *",
    ),
    (
        "safe_trace(property(len))",
        "TypeError: safe_trace() can't observe a property. Fix: put @safe_trace below @property",
    ),
    ("request_context(metadata=5)", "TypeError: request_context(): metadata=5 is not a dict. *"),
    ("request_context(user=5)", "TypeError: request_context() got an unknown keyword 'user', did you mean*"),
    ("run_with_context({}, 5)", "TypeError: run_with_context(): function=5 is not a function. *"),
    ("carry_context(5)", "TypeError: carry_context() takes a function or nothing, not 5. *"),
    ("instrument_httpx(5)", "TypeError: instrument_httpx() takes a httpx.Client or *"),
    ("instrument_requests(5)", "TypeError: instrument_requests() takes a requests.sessions.Session, *"),
    ("CircuitBreaker(failure_threshold=0)", "ValueError: CircuitBreaker(): failure_threshold=0 is out of range. *"),
    ("CircuitBreaker().success(None)", "TypeError: success(): permit=None is not a Permit. *"),
    (
        "LangfuseASGIMiddleware(print, exclude=5)",
        "TypeError: the middleware: exclude=5 is not a list of paths. *",
    ),
    (
        "langfuse_aiohttp_middleware(trusted='no')",
        "TypeError: the middleware: trusted='no' is neither true nor false. *",
    ),
]


@pytest.mark.slow
def test_nor_is_one_of_tracing(app: pytest.Pytester) -> None:
    calls = [*(call for call, _ in TRACING), "langfuse_tracing(5)"]
    tests = [f"def test_{number}(langfuse_tracing):\n    {call}\n" for number, call in enumerate(calls)]
    app.makepyfile(test_it="from pytest_langfuse.tracing import *\n" + "\n".join(tests))
    result = app.runpytest("-p", "no:randomly")
    result.assert_outcomes(failed=len(calls))
    lines = [line for call, message in TRACING for line in (f">*{call}", f"E*{message}", "test_it.py:*Error")]
    result.stdout.fnmatch_lines([*lines, ">*langfuse_tracing(5)", "E*config=5 is not a TracingConfig.*"])
    assert "/pytest_langfuse/" not in result.stdout.str()
