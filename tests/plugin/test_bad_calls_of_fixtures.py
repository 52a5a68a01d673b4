"""Calls of what fixtures hand out that can't be used: one sentence at the line of the test, and no frame of ours.

`test_wrong_calls.py` shows how such a failure is printed; here are many values for each parameter.
"""

import inspect
from collections.abc import Callable, Iterator

import pytest

from pytest_langfuse import App, Clock, LangfuseQueue, OutageControl, Processes

SECRET = "sk-lf-hunter2"
NOT_A_NUMBER = ("'x'", "'5'", "True", "[]", "None", "b'1'", "Broken()", repr(SECRET))
OUT_OF_RANGE = ("float('nan')", "-1", "float('inf')", "-float('inf')", "10**5000", "1e300")
SECONDS = (*NOT_A_NUMBER, *OUT_OF_RANGE)
NOT_A_TEXT = ("5", "10**5000", "None", "b'x'", "[]", "Broken()")
NOT_AN_ARGUMENT = (*NOT_A_TEXT, "'a\\0b'", "'\\ud800'")
NOT_VARIABLES = (
    "5", "'A=B'", "['A']", "[('A', 'B')]", "{5: 'x'}", "{'': 'x'}", "{'A=B': 'x'}", "{'A\\0': 'x'}", "{'A': 5}",
    "{'A': '\\0'}", "{'A': b'x'}", "{'A': '\\ud800'}", "{'\\ud800': 'x'}", "{'A': Broken()}", "Broken()",
)  # fmt: skip
NOT_A_DIRECTORY = ("5", "10**5000", "b'x'", "[]", "'nowhere'", "'a\\0b'", "'\\ud800'", "Broken()")
NOT_A_URL = (
    "'x'", "'ftp://x'", "'http://'", "'http://x:99999'", "'http://x:0'", "'http://[::1'", "'http://x/a b'",
    "'http://x/\\r\\nHost: y'", "'http://x/\\xfc'", "'/\\0'",
)  # fmt: skip

#: The values that each parameter refuses, by class, method and parameter.
CALLS = {
    Clock.advance: {"seconds": SECONDS},
    OutageControl.__call__: {"names": (*NOT_A_TEXT, "''", "'hng'", repr(SECRET), "'x' * 10**6")},
    OutageControl.begin: {"outage": ("5", "None", "'hang'", "langfuse_outage('hang', required=False)", "Broken()")},
    App.wait_for_output: {"text": (*NOT_A_TEXT, "re.compile(b'x')"), "timeout": SECONDS},
    App.wait_ready: {"url": (*NOT_A_TEXT, *NOT_A_URL), "timeout": SECONDS},
    App.wait: {"timeout": SECONDS},
    App.send_signal: {"number": ("'TERM'", "999", "-1", "0", "True", "None", "9.0", "10**5000", "Broken()")},
    LangfuseQueue.wait_for: {"count": (*NOT_A_NUMBER, "-1", "0", "1.5", "10**5000"), "timeout": SECONDS},
    LangfuseQueue.sqs_queue_url: {"name": (*NOT_A_TEXT, "''")},
    Processes.start: {"python_args": NOT_AN_ARGUMENT, "env": NOT_VARIABLES, "cwd": NOT_A_DIRECTORY},
    Processes.start_command: {"argv": NOT_AN_ARGUMENT, "env": NOT_VARIABLES, "cwd": NOT_A_DIRECTORY},
}  # fmt: skip
#: The object of each class in the test that is run, and the arguments that a method needs beside the one that is tried.
OBJECTS = {
    Clock: "langfuse_clock", OutageControl: "langfuse_outage", App: "app", Processes: "langfuse_process",
    LangfuseQueue: "langfuse_queue",
}  # fmt: skip
NEEDED = {"text": "'x'", "url": "'/'", "python_args": "'-c', ''", "argv": "'true'"}
#: Where a message does not name the parameter: it is the only one, or the message names the call.
NAMED = {"names": "", "outage": "", "python_args": "", "argv": "", "url": "wait_ready"}
#: How the harness ends what a test started.
WIRING = {"close"}
HEADER = f"""
import re
import traceback
import pytest

class Broken:
    def __repr__(self):
        raise RuntimeError("no repr")

@pytest.fixture
def app(langfuse_process):
    return langfuse_process.start("-c", "import time; time.sleep(60)", "{{port}}")

def check_all(calls):
    wrong = []
    for number, (name, call) in enumerate(calls):
        try:
            check(name, call)
        except AssertionError as error:
            wrong.append((number, str(error)))
    assert not wrong, wrong

def check(name, call):
    try:
        call()
    except (TypeError, ValueError, OSError) as error:
        message = str(error)
        last = traceback.extract_tb(error.__traceback__)[-1].filename
        assert name in message, message
        assert {SECRET!r} not in message, message
        assert message.isprintable() and len(message) < 600, message
        assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)
        assert "pytest_langfuse" in last, last
        with pytest.raises(type(error)) as raised:
            call()
        shown = str(raised.getrepr(style="short"))
        assert "/pytest_langfuse/" not in shown, shown
    else:
        raise AssertionError("it was accepted")
"""


def written() -> tuple[str, int]:
    """The tests: one for each method, with all values; and the number of methods."""
    tests = []
    for function, parameters in CALLS.items():
        cls = next(cls for cls in OBJECTS if getattr(cls, function.__name__, None) is function)
        calls = [call for name, values in parameters.items() for call in written_calls(cls, function, name, values)]
        tests.append(f"def test_{len(tests)}({fixtures(cls)}):\n    check_all([{', '.join(calls)}])")
    return HEADER + "\n".join(tests), len(tests)


def written_calls(cls: type, function: Callable[..., object], name: str, values: tuple[str, ...]) -> Iterator[str]:
    parameters = inspect.signature(function).parameters
    positional = parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
    others = [] if positional else [text for other, text in NEEDED.items() if other in parameters and other != name]
    method = "" if function.__name__ == "__call__" else f".{function.__name__}"
    for value in values:
        given = ", ".join([*others, value if positional else f"{name}={value}"])
        yield f"({NAMED.get(name, name)!r}, lambda: {OBJECTS[cls]}{method}({given}))"


def fixtures(cls: type) -> str:
    return "app" if cls is App else OBJECTS[cls]


@pytest.mark.slow
def test_a_value_that_cannot_be_used_is_one_sentence_that_names_the_parameter(app: pytest.Pytester):
    tests, count = written()
    app.makepyfile(test_it=tests)
    result = app.runpytest("-q", "--tb=short", "--no-header", "-p", "no:randomly")
    assert result.parseoutcomes() == {"passed": count}, result.stdout.str()[-6000:]


def test_every_parameter_is_tried():
    missing = []
    for cls in OBJECTS:
        for name, function in inspect.getmembers(cls, inspect.isfunction):
            if name.startswith("_") and name != "__call__":
                continue
            parameters = set(inspect.signature(function).parameters) - {"self", "options"}
            if name not in WIRING:
                missing += [
                    f"{cls.__name__}.{name}({parameter})" for parameter in parameters - set(CALLS.get(function, {}))
                ]
    assert not missing, missing


@pytest.mark.slow
def test_an_outage_of_a_with_block_is_not_entered_twice(app: pytest.Pytester):
    app.makepyfile(
        test_it="""
        import pytest

        def test_nested(langfuse_outage):
            outage = langfuse_outage("hang", required=False)
            with outage:
                with outage:
                    pass

        def test_again(langfuse_outage):
            outage = langfuse_outage("hang", required=False)
            with outage:
                pass
            with outage as entered:
                assert entered.active
            assert not entered.active
        """
    )
    result = app.runpytest()
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["E*RuntimeError: the outage 'hang' is already active: begin another one, with *"])
    assert "/pytest_langfuse/" not in result.stdout.str()
