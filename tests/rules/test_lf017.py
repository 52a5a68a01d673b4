"""LF017: a test that waits for Langfuse, as the application's users would."""

import asyncio
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from langfuse import observe
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pytest_langfuse.recording.langfuse_calls import outwards
from pytest_langfuse.recording.langfuse_waits import LangfuseWait, WaitTimer, blocked_seconds
from pytest_langfuse.recording.sdk import hooks
from pytest_langfuse.recording.start_place import StartPlaces
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.rule_set import RuleSet
from tests.helpers.tracing_waits import until
from tests.rules.test_pages import block

KEYS = {"public_key": "pk-lf-017", "secret_key": "sk-lf-017", "base_url": "http://127.0.0.1:9"}
PROMPT = {"name": "greeting", "version": 1, "type": "text", "prompt": "hello", "config": {}, "labels": [], "tags": []}


class Clock:
    """Stands still until somebody waits."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(hooks.waits, "_clock", clock)
    # What these tests compute is no part of the time on this clock.
    monkeypatch.setattr(hooks.waits, "_cpu_seconds", lambda: 0.0)
    return clock


@pytest.fixture
def slow_prompts(client, langfuse_api, clock):
    """Langfuse answers after three seconds."""

    def answer(_request):
        clock.wait(3)
        return httpx.Response(200, json=PROMPT)

    return langfuse_api.get(path__startswith="/api/public/v2/prompts/").mock(side_effect=answer)


class SlowExporter(SpanExporter):
    """A collector that takes five seconds for each batch."""

    def __init__(self, clock) -> None:
        self.clock = clock
        self.batches = 0

    def export(self, spans):
        self.batches += 1
        self.clock.wait(5)
        return SpanExportResult.SUCCESS


@pytest.fixture
def slow(langfuse_fresh_client, langfuse_spans, clock):
    """A client whose exports are slow, and what LF017 finds."""
    assert hooks.recorder is not None
    hooks.recorder.places = StartPlaces(lambda _: False)
    exporter = SlowExporter(clock)
    client = langfuse_fresh_client(**KEYS, span_exporter=exporter, flush_interval=600)
    client.exporter = exporter

    def found(*options):
        return RuleSet.of(["LF017"], options=options).find(evidence_of(langfuse_spans._source, "test", final=True))

    yield client, found
    hooks.recorder.places = None


def test_a_prompt_is_fetched_in_the_request(client, find, slow_prompts):
    @observe()
    def answer():
        return client.get_prompt("greeting").compile()

    assert answer() == answer() == "hello"
    # The second one is from the cache.
    assert slow_prompts.call_count == 1
    (finding,) = find("LF017")
    assert finding.severity == "warning"
    assert finding.text.startswith(
        "the test waited 3.0 s for Langfuse, in Langfuse.get_prompt() (tests/rules/test_lf017.py:"
    )
    assert finding.text.endswith("), and 1 s is allowed")
    assert "fetch prompts when the process starts" in finding.fix
    assert find("LF017", "LF017.max_block=3") == []


def test_retries_and_the_sleeps_between_them_are_one_wait(client, find, langfuse_api, clock, monkeypatch):
    langfuse_api.get(path__startswith="/api/public/v2/prompts/").mock(side_effect=httpx.ConnectError("down"))
    monkeypatch.setattr(time, "sleep", clock.wait)
    client.get_prompt("greeting", fallback="hello", max_retries=4)
    (finding,) = find("LF017", "LF017.max_block=0.001")
    assert "in Langfuse.get_prompt() (" in finding.text


def test_flush_in_the_request(slow):
    client, found = slow

    def answer():
        with client.start_as_current_observation(name="answer"):
            pass
        client.flush()

    answer()
    (finding,) = found()
    assert finding.text.startswith(
        "the test waited 5.0 s for Langfuse, in Langfuse.flush() (tests/rules/test_lf017.py:"
    )
    assert "flush() where the process ends alone" in finding.fix
    assert finding.place.qualname == "test_flush_in_the_request.answer"


def test_flush_waits_for_scores(client, find, langfuse_api, clock):
    """Another thread sends them."""

    def answer(_request):
        clock.wait(4)
        return httpx.Response(200, json={"id": "1", "successes": [], "errors": []})

    langfuse_api.post(path__regex="/api/public/(scores|ingestion)").mock(side_effect=answer)
    client.create_score(name="thumbs", value=1, trace_id="a" * 32)
    client.flush()
    (finding,) = find("LF017")
    assert finding.text.startswith(
        "the test waited 4.0 s for Langfuse, in Langfuse.flush() (tests/rules/test_lf017.py:"
    )


def test_a_thread_of_the_sdk_waits_for_nobody(client, find, langfuse_api, clock):
    """Whoever waits for it is in a call of its own, which is cut short where the thread's request is."""

    def answer(_request):
        began = clock()
        clock.wait(4)
        hooks.recorder.current.waits.append(LangfuseWait(began, clock(), 12.0, "ScoreConsumer.send", None))
        return httpx.Response(200, json={"id": "1", "successes": [], "errors": []})

    langfuse_api.post(path__regex="/api/public/(scores|ingestion)").mock(side_effect=answer)
    client.create_score(name="thumbs", value=1, trace_id="a" * 32)
    client.flush()
    (finding,) = find("LF017")
    assert finding.text.startswith(
        "the test waited 4.0 s (up to 16.0 s without the time limit of the capture) for Langfuse, in Langfuse.flush() ("
    )


def test_flush_on_the_event_loop(slow):
    client, found = slow

    async def answer():
        client.start_observation(name="answer").end()
        client.flush()

    asyncio.run(answer())
    assert "in Langfuse.flush() (" in found()[0].text


def test_a_worker_that_the_test_waits_for(slow):
    client, found = slow
    main = threading.get_ident()

    def answer():
        client.start_observation(name="answer").end()
        # Nobody waits in truth: the clock is set forward.
        until(lambda: "result" in [frame.f_code.co_name for frame in outwards(sys._current_frames()[main])])
        client.flush()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(answer).result()
    (finding,) = found()
    assert finding.place.qualname == "test_a_worker_that_the_test_waits_for.answer"


def test_many_waits_that_are_short_each(client, find, slow_prompts, clock):
    client.api.prompts.get("a")
    client.api.prompts.get("b")
    assert find("LF017", "LF017.max_block=6") == []
    (finding,) = find("LF017", "LF017.max_block=5")
    assert finding.text.startswith(
        "the test waited 6.0 s for Langfuse, 3.0 s of them in PromptsClient.get() (tests/rules/test_lf017.py:"
    )
    # Each is too long by itself.
    assert len(find("LF017")) == 2


def test_a_thread_in_the_background(slow):
    """It sends now and then, and nobody waits for it."""
    client, found = slow

    def send():
        client.start_observation(name="answer").end()
        client.flush()

    sender = threading.Thread(target=send)
    sender.start()
    while sender.is_alive():
        time.sleep(0.001)
    assert client.exporter.batches == 1
    assert found() == []


def test_what_the_harness_waits_for(slow, langfuse_spans):
    client, found = slow
    client.start_observation(name="answer").end()
    assert len(langfuse_spans) == 1
    assert client.exporter.batches == 1
    assert found() == []


def test_an_export_between_two_tests_of_the_queue_is_the_harness(slow, monkeypatch):
    """Capture exports early, so that no queue overflows: in production another thread does."""
    client, found = slow
    monkeypatch.setattr(hooks, "_flush_at", 2)
    for _ in range(3):
        client.start_observation(name="answer").end()
    assert client.exporter.batches == 1
    assert found() == []


def test_what_was_cleared_is_forgotten(client, find, slow_prompts, langfuse_spans):
    client.get_prompt("greeting")
    langfuse_spans.clear()
    assert find("LF017") == []


def test_nothing_is_looked_up_where_nothing_blocks(client, find, langfuse_api, clock, monkeypatch):
    langfuse_api.get(path__startswith="/api/public/v2/prompts/").respond(json=PROMPT)
    monkeypatch.setattr(hooks, "_note_wait", lambda *_: pytest.fail("not needed"))
    monkeypatch.setattr(hooks.waits, "_note", hooks._note_wait)
    client.get_prompt("greeting")
    client.flush()
    assert find("LF017", "LF017.max_block=0") == []


@pytest.mark.parametrize(
    ("elapsed", "computed", "waits"),
    [
        # Importing takes longer than it computes: what is known of a wait is that of the call inside.
        (2, 0.6, [0.5, 1.9]),
        # Langfuse hangs in the first call, too.
        (5, 0.1, [5.1, 5.4]),
    ],
)
def test_the_first_import_is_not_a_wait(clock, tmp_path, monkeypatch, elapsed, computed, waits):
    noted = []
    timer, cpu = WaitTimer(lambda *wait: noted.append(wait)), Clock()
    timer._clock, timer._cpu_seconds = clock, cpu
    module = f"module_of_langfuse_{elapsed}"
    (tmp_path / f"{module}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)

    def call():
        __import__(module)
        clock.wait(elapsed)
        cpu.wait(computed)
        timer.timed(lambda: clock.wait(0.5))

    timer.timed(call)
    timer.timed(call)
    assert [ended - began for began, ended, _ in noted] == pytest.approx(waits)


def test_computing_is_not_a_wait(clock):
    noted = []
    timer = WaitTimer(lambda *wait: noted.append(wait))
    computed = Clock()
    timer._clock, timer._cpu_seconds = clock, computed

    def encode():
        clock.wait(2)
        computed.wait(1.5)

    timer.timed(encode)
    assert [ended - began for began, ended, _ in noted] == [0.5]


@pytest.mark.parametrize(
    ("waits", "seconds"),
    [
        ([], (0, 0)),
        ([(0, 2, 0), (3, 4, 0)], (3, 0)),
        # Several threads at once.
        ([(0, 2, 4), (1, 3, 4), (1, 2, 4)], (3, 4)),
        ([(0, 2, 4), (2, 4, 4)], (4, 8)),
        ([(0, 9, 0), (1, 2, 0), (3, 4, 0)], (9, 0)),
    ],
)
def test_waits_at_the_same_time_count_once(waits, seconds):
    assert blocked_seconds([LangfuseWait(*wait, "", None) for wait in reversed(waits)]) == seconds


@pytest.mark.slow
def test_an_outage_with_and_without_a_limit(client, find, langfuse_outage):
    """A test that says how long it may wait is judged by that."""
    with langfuse_outage("slow", delay=0.2, max_block=60):
        client.get_prompt("within the limit", fallback="hello", max_retries=0)
    assert find("LF017", "LF017.max_block=0.1") == []
    with langfuse_outage("slow", delay=0.2):
        client.get_prompt("without a limit", fallback="hello", max_retries=0)
    (finding,) = find("LF017", "LF017.max_block=0.1")
    assert "in Langfuse.get_prompt() (" in finding.text


@pytest.mark.slow
def test_what_the_timeout_of_capture_has_cut_short(client, find, langfuse_outage):
    with langfuse_outage("hang"):
        client.get_prompt("greeting", fallback="hello", max_retries=0)
    (finding,) = find("LF017", "LF017.max_block=4.5")
    assert "s (up to 5." in finding.text
    assert " s without the time limit of the capture) for Langfuse, in Langfuse.get_prompt() (" in finding.text


@pytest.mark.parametrize(("heading", "number"), [("Fails", 1), ("Fix", 0)])
def test_the_page(slow, heading, number):
    client, found = slow
    names = {"langfuse": client}
    exec(block("LF017", heading), names)
    assert names["answer"]("What is the capital of France?") == "Paris"
    assert len(found()) == number


APP = """
    import time
    import httpx
    from langfuse import Langfuse
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Slow(SpanExporter):
        def export(self, spans):
            time.sleep(0.1)
            return SpanExportResult.SUCCESS

    keys = {"public_key": "pk-lf-1", "secret_key": "sk-lf-1", "base_url": "http://127.0.0.1:9"}
    def missing(request):
        time.sleep(0.1)
        return httpx.Response(404)

    http = httpx.Client(transport=httpx.MockTransport(missing))
    langfuse = Langfuse(**keys, span_exporter=Slow(), flush_interval=600, httpx_client=http)

    def answer():
        langfuse.start_observation(name="answer").end()
        langfuse.flush()
"""


def test_in_a_run(pytester):
    pytester.makepyfile(
        bot=APP,
        test_bot="""
        import bot, pytest

        @pytest.fixture(scope="module")
        def warm():
            bot.answer()

        @pytest.fixture
        def cleaned():
            yield
            bot.langfuse.get_prompt("nothing", fallback="hello", max_retries=0)

        def test_of_a_wider_fixture(warm):
            pass

        def test_blocked():
            bot.answer()

        def test_in_its_teardown(cleaned):
            pass

        def test_missing_prompt():
            bot.langfuse.get_prompt("nothing", max_retries=0)
        """,
    )
    pytester.makeini("[pytest]\nlangfuse_max_block = 0.05\nlangfuse_rules_select = LF017\nlangfuse_strict = true")
    result = pytester.runpytest("-p", "no:randomly")
    result.assert_outcomes(passed=2, failed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "LF017 blocked in Langfuse: the test waited ?.? s for Langfuse, in Langfuse.flush() (bot.py:21), and *",
            "langfuse: LF017 blocked in Langfuse (warning, 3 times): *",
        ]
    )
    # The application's error is shown without the hooks.
    result.stdout.no_fnmatch_line("*recording/sdk.py*")
    result.stdout.no_fnmatch_line("*langfuse_waits.py*")
    pytester.makeini(
        "[pytest]\nlangfuse_max_block = 0.05\nlangfuse_rules = LF017.max_block=60\nlangfuse_rules_select = LF017\n"
        "langfuse_strict = true"
    )
    pytester.runpytest("-p", "no:randomly").assert_outcomes(passed=3, failed=1)
