"""LF001, LF002 and LF025: observations that outlive their test, or have a parent in another one."""

import pytest

BOT = """
    import threading
    from langfuse import Langfuse

    langfuse = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9")
    proceed, done = threading.Event(), threading.Event()

    def answer():
        with langfuse.start_as_current_observation(name="answer"):
            return langfuse.start_observation(name="search")

    def in_background():
        with langfuse.start_as_current_observation(name="background"):
            proceed.wait(10)
        done.set()

    def reply():
        with langfuse.start_as_current_observation(name="reply"):
            pass
"""


@pytest.fixture
def run(pytester: pytest.Pytester):
    """Runs tests of that application in strict mode, with all rules and with warnings that fail."""

    def ran(tests: str, code: str, **files: str) -> pytest.RunResult:
        pytester.makepyfile(bot=BOT, **files)
        pytester.makepyfile(test_bot=f"import pytest, bot\n{tests}")
        return pytester.runpytest(
            "--langfuse-strict", "-o", f"langfuse_rules_select={code}", "-p", "no:randomly", "-p", "no:cacheprovider"
        )

    return ran


def found(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("LF")]


# -- LF001 -----------------------------------------------------------------------------------------------------------


def test_never_ended(run):
    result = run("def test_it(): bot.answer()", "LF001")
    result.assert_outcomes(passed=1, errors=1)
    (line,) = found(result)
    assert line == (
        "LF001 not ended: 'search' (bot.py:9) was still running when its test and the test's fixtures had ended: "
        "Langfuse gets an observation only when it ends. Fix: start it with `with "
        "langfuse.start_as_current_observation(...)`, or call its end() in a finally clause."
    )


def test_never_ended_by_a_library(run):
    """A consumer breaks off a stream of Strands Agents, which then leaves the observation of the model call open."""
    result = run(
        """
from opentelemetry import trace

def test_it():
    span = trace.get_tracer("strands.telemetry.tracer").start_span("chat")
    span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"})
""",
        "LF001",
    )
    (line,) = found(result)
    assert line.endswith(
        "Fix: read the stream or generator in which it runs to its end, or close it (contextlib.aclosing); if it "
        "still does not end, that is for 'strands.telemetry.tracer' to mend."
    )


def test_still_running_in_a_thread(run):
    result = run(
        """
import threading

def test_it():
    threading.Thread(target=bot.in_background, name="worker").start()

def test_end():
    bot.proceed.set()
    assert bot.done.wait(10)
""",
        "LF001",
    )
    result.assert_outcomes(passed=2, errors=1)
    (line,) = found(result)
    assert line.startswith("LF001 not ended: 'background' (bot.py:12, thread \"worker\") was still running")
    assert "Fix: wait in the test for what it runs in, or start it" in line


ENDED_BY_FIXTURES = """
@pytest.fixture(params=["function"])
def own():
    with bot.langfuse.start_as_current_observation(name="own"):
        yield

@pytest.fixture(scope="module")
def shared():
    observation = bot.langfuse.start_observation(name="shared")
    yield
    observation.end()

def test_one(own, shared): bot.reply()

def test_two(shared): bot.reply()

def test_three(): bot.reply()
"""


@pytest.mark.parametrize("code", ["LF001", "LF002", "LF025"])
def test_observations_that_fixtures_hold(run, code):
    result = run(ENDED_BY_FIXTURES, code)
    result.assert_outcomes(passed=3)


def test_ended_and_left_out(run):
    result = run(
        """
def test_it():
    langfuse = bot.Langfuse(
        public_key="pk-lf-2", secret_key="sk-lf-2", base_url="http://127.0.0.1:9", should_export_span=lambda span: False
    )
    langfuse.start_observation(name="left out").end()
    bot.reply()
""",
        "LF001",
    )
    result.assert_outcomes(passed=1)


def test_a_foreign_span_that_langfuse_would_not_get(run):
    result = run(
        """
from opentelemetry import trace

def test_it():
    bot.reply()
    bot.left = trace.get_tracer("web.framework").start_span("GET /")
""",
        "LF001",
    )
    result.assert_outcomes(passed=1)


# -- LF002 -----------------------------------------------------------------------------------------------------------

LATE = """
import threading

def test_one():
    threading.Thread(target=bot.in_background).start()

def test_two():
    bot.reply()
    bot.proceed.set()
    assert bot.done.wait(10)
"""


def test_ended_after_its_test(run):
    result = run(LATE, "LF002")
    result.assert_outcomes(passed=1, failed=1)
    (line,) = found(result)
    assert line == (
        "LF002 ended after its test: 'background' (bot.py:12) was started by test_bot.py::test_one and ended after "
        "that test. Fix: wait in that test for the work: join its thread, await its task, or call "
        "langfuse_spans.wait_for()."
    )


def test_ended_in_the_teardown_of_another_test(run):
    result = run(
        """
def test_one():
    bot.left = bot.langfuse.start_observation(name="left")

@pytest.fixture
def end():
    yield
    bot.left.end()

def test_two(end): bot.reply()
""",
        "LF002",
    )
    result.assert_outcomes(passed=2, errors=1)


def test_a_foreign_span_that_ends_late(run):
    result = run(
        """
from opentelemetry import trace

def test_one():
    bot.left = trace.get_tracer("web.framework").start_span("GET /")

def test_two():
    bot.reply()
    bot.left.end()
""",
        "LF002",
    )
    result.assert_outcomes(passed=2)


def test_ended_before_the_next_test(run):
    assert found(run(LATE.replace("\n\ndef test_two():\n    bot.reply()", ""), "LF002")) == []


# -- LF025 -----------------------------------------------------------------------------------------------------------


def test_a_parent_in_a_shared_fixture(run):
    result = run(
        """
@pytest.fixture(scope="module")
def session():
    with bot.langfuse.start_as_current_observation(name="session"):
        yield

def test_one(session): bot.reply()

def test_two(session):
    bot.reply()
    bot.reply()
""",
        "LF025",
    )
    result.assert_outcomes(passed=1, failed=1)
    (line,) = found(result)
    assert line == (
        "LF025 parent of another test: 'reply' (bot.py:17) has as parent 'session' (test_bot.py:5) of the module "
        "fixture `session`, which was set up in test_bot.py::test_one, and looks like a root in this test. Fix: give "
        "the fixture `session` the scope 'function', or start the observation in the test."
    )


def test_a_parent_that_another_test_left_current(run):
    result = run(
        """
from opentelemetry import context, trace

def test_one():
    with bot.langfuse.start_as_current_observation(name="ended"):
        bot.left = context.get_current()

def test_two():
    token = context.attach(bot.left)
    bot.reply()
    context.detach(token)
""",
        "LF025",
    )
    result.assert_outcomes(passed=1, failed=1)
    (line,) = found(result)
    assert "has as parent an observation of test_bot.py::test_one, and looks like a root" in line


@pytest.mark.slow
def test_what_a_library_leaves_current_is_told_once_and_where_it_happens(run):
    result = run(
        """
import contextvars
from langchain_core.runnables import RunnableLambda
from langfuse.langchain import CallbackHandler

def batch():
    # The handler attaches a context for each input, and detaches them in the same order.
    chain = (RunnableLambda(str.strip) | RunnableLambda(str.upper)).with_config(run_name="chain")
    return chain.batch(["a", "b"], config={"callbacks": [CallbackHandler()]})

def test_one():
    batch()

def test_two():
    bot.reply()

def test_in_its_own_context():
    contextvars.copy_context().run(batch)

def test_four(langfuse_spans):
    bot.reply()
    assert not langfuse_spans.one("span reply").parent_id
""",
        "LF025",
    )
    result.assert_outcomes(passed=4, errors=1)
    (line,) = found(result)
    assert line == (
        "LF025 parent of another test: 'chain' (test_bot.py:10) has ended and is still the current observation of its "
        "thread: what runs there next, as another test or request, goes below it. Fix: detach what was attached, the "
        "last first; if a library leaves it, call that with contextvars.copy_context().run(...)."
    )


def test_what_a_running_generator_leaves_current_does_not_reach_the_next_test(run):
    result = run(
        """
def steps():
    with bot.langfuse.start_as_current_observation(name="steps"):
        yield 1

def test_one():
    bot.kept = steps()
    next(bot.kept)

def test_two():
    bot.reply()
""",
        "LF001 LF025",
    )
    result.assert_outcomes(passed=2, errors=1)
    (line,) = found(result)
    assert line.startswith("LF001 not ended: 'steps'")


def test_current_observations_that_fixtures_detach(run):
    result = run(
        """
@pytest.fixture
def ended_by_the_test():
    with bot.langfuse.start_as_current_observation(name="own", end_on_exit=False) as own:
        yield own

def test_own(ended_by_the_test):
    bot.reply()
    ended_by_the_test.end()

@pytest.fixture(scope="module")
def shared():
    with bot.langfuse.start_as_current_observation(name="shared"):
        yield

def test_with_shared(shared):
    bot.reply()
""",
        "LF025",
    )
    result.assert_outcomes(passed=2)
    assert found(result) == []


def test_a_parent_outside_of_tests(run):
    result = run(
        "def test_one(): bot.reply()",
        "LF025",
        conftest="""
        import bot

        def pytest_collection_finish():
            bot.held = bot.langfuse.start_as_current_observation(name="import")
            bot.held.__enter__()

        def pytest_sessionfinish():
            bot.held.__exit__(None, None, None)
        """,
    )
    (line,) = found(result)
    assert "has as parent 'import' (conftest.py:5) that was started outside of tests, and looks like" in line


def test_parents_that_are_not_of_another_test(run):
    result = run(
        """
@pytest.fixture
def own():
    with bot.langfuse.start_as_current_observation(name="own"):
        yield

def test_in_own_fixture(own): bot.reply()

def test_seeded():
    context = {"trace_id": bot.langfuse.create_trace_id(seed="1")}
    with bot.langfuse.start_as_current_observation(name="seeded", trace_context=context):
        bot.reply()

def test_experiment():
    with bot.langfuse.start_as_current_observation(name="outer"):
        bot.langfuse.run_experiment(
            name="capitals", data=[{"input": "France"}], task=lambda item, **_: bot.reply()
        )
""",
        "LF025",
    )
    result.assert_outcomes(passed=3)
