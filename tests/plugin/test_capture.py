"""`pytest --langfuse-capture` and the fixtures on an application that knows nothing of them."""

import inspect
import json

import pytest
from langfuse import Langfuse

GREEN = """
    from app import answer

    def test_answer(langfuse_spans):
        answer("why?")
        langfuse_spans.assert_tree('''
            span answer
              retriever search
              generation llm  model=gpt-4o user_id=u-1 usage.total=5
        ''')

    def test_second_is_clean(langfuse_spans):
        assert len(langfuse_spans) == 0
        answer("why?")
        assert [o.name for o in langfuse_spans] == ["answer", "search", "llm"]
"""


@pytest.mark.parametrize("arguments", [[], ["--langfuse-capture"]], ids=["by fixture", "by option"])
def test_spans_of_the_test_and_of_no_other(app: pytest.Pytester, arguments: list[str]) -> None:
    app.makepyfile(GREEN)
    result = app.runpytest(*arguments)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["langfuse: 6 observations in 2 tests"])


def test_a_failing_test_shows_its_trace(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import answer

        def test_answer():
            assert answer("why?") == "no"

        def test_fine():
            answer("quiet")
    """)
    result = app.runpytest("--langfuse-capture")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*- Langfuse trace -*", "*span answer*", "*generation llm*model=gpt-4o*"])
    result.stdout.fnmatch_lines(["langfuse: 6 observations in 2 tests"])
    result.stdout.no_fnmatch_line("*quiet*")


def test_show_none_and_all(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import answer

        def test_red():
            assert answer("red question") == "no"

        def test_green():
            answer("green question")
    """)
    result = app.runpytest("--langfuse-capture", "--langfuse-show=none")
    result.stdout.no_fnmatch_line("*Langfuse trace*")
    result = app.runpytest("--langfuse-capture", "--langfuse-show=all")
    result.stdout.fnmatch_lines(["*Langfuse trace: *test_green*", "*green question*"])


def test_ini_twins(app: pytest.Pytester) -> None:
    app.makeini("[pytest]\nlangfuse_capture = true\nlangfuse_show = none\n")
    app.makepyfile("""
        from app import answer

        def test_red():
            assert answer("red question") == "no"
    """)
    result = app.runpytest()
    result.stdout.no_fnmatch_line("*Langfuse trace*")
    result.stdout.fnmatch_lines(["langfuse: 3 observations in 1 test"])


@pytest.mark.parametrize(
    ("ini", "arguments", "message"),
    [
        (
            "langfuse_show = faild",
            [],
            "*ini option langfuse_show: 'faild' is not one of failed, all, none, did you mean 'failed'?",
        ),
        ("langfuse_capture = maybe", [], "*ini option langfuse_capture: 'maybe' is not one of true, false"),
        ("langfuse_captur = true", [], "*unknown ini option 'langfuse_captur', did you mean 'langfuse_capture'?"),
        ("", ["--langfuse-show=al"], "*--langfuse-show: 'al' is not one of failed, all, none, did you mean 'all'?"),
        ("", ["--langfuse-show="], "*--langfuse-show needs a value; leave it out for the default"),
        ("", ["--langfuse-captured"], "*unrecognized arguments: --langfuse-captured*"),
    ],
)
def test_bad_options_are_one_clear_error(app: pytest.Pytester, ini: str, arguments: list[str], message: str) -> None:
    app.makeini(f"[pytest]\n{ini}\n")
    app.makepyfile("def test_it(): pass")
    result = app.runpytest(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


def test_unended_filtered_sampled_out_and_other_projects_are_named(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import answer, langfuse
        from langfuse import Langfuse
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider

        def test_names(langfuse_spans):
            with trace.get_tracer("some.http.server").start_as_current_span("GET /x"):
                answer("why?")
            langfuse.start_observation(name="forgotten")
            TracerProvider().get_tracer("own").start_span("elsewhere").end()
            assert [o.name for o in langfuse_spans.filtered] == ["GET /x", "elsewhere"]
            assert [o.name for o in langfuse_spans.unended] == ["forgotten"]
            assert False
    """)
    result = app.runpytest("--langfuse-capture")
    result.stdout.fnmatch_lines(
        [
            "*Recorded but not exported:*",
            "*`GET /x`: default span filter",
            "*`forgotten`: it never ended",
            "*`elsewhere`: its tracer provider has no Langfuse span processor",
            "langfuse: 3 observations in 1 test, 1 never ended",
        ]
    )


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ("{'public_key': 'pk-lf-other'}", "it belongs to the project of pk-lf-other"),
        ("{'public_key': ''}", "its tracer is called langfuse-sdk and has no public key"),
        ("{}", "its tracer is called langfuse-sdk and has no public key"),
        ("None", "its tracer is called langfuse-sdk and has no public key"),
    ],
)
def test_a_span_of_the_sdks_tracer_names_its_project_or_that_it_has_none(
    app: pytest.Pytester, attributes: str, reason: str
) -> None:
    app.makepyfile(f"""
        from app import answer
        from opentelemetry import trace

        def test_it(langfuse_spans):
            answer("why?")
            trace.get_tracer("langfuse-sdk", attributes={attributes}).start_span("own").end()
            langfuse_spans.one("span own")
    """)
    result = app.runpytest("--langfuse-json=run.jsonl")
    result.stdout.fnmatch_lines([f"*`own`*{reason}*"])
    rows = map(json.loads, (app.path / "run.jsonl").read_text().splitlines())
    [own] = [row for row in rows if row["kind"] == "observation" and row["name"] == "own"]
    assert (own["reason"], own["detail"]) == ("other project", reason)


def test_late_spans_belong_to_the_test_in_which_they_started(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import answer, langfuse

        started = []

        def test_starts(langfuse_spans):
            started.append(langfuse.start_observation(name="background"))
            assert [o.name for o in langfuse_spans.unended] == ["background"]

        def test_ends(langfuse_spans):
            started.pop().end()
            assert [o.name for o in langfuse_spans.late] == ["background"]
            assert len(langfuse_spans) == 0
    """)
    result = app.runpytest("--langfuse-capture", "-p", "no:randomly")
    result.assert_outcomes(passed=2)
    assert "never ended" not in result.stdout.str()


def test_sampled_out(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from langfuse import Langfuse

        def test_rate(langfuse_fresh_client, langfuse_spans):
            client = Langfuse(sample_rate=1e-12)  # 0.0 meant 1.0 before langfuse 4.14
            client.start_observation(name="rare").end()
            assert len(langfuse_spans) == 0
            assert [o.name for o in langfuse_spans.sampled_out] == ["rare"]
    """)
    app.runpytest().assert_outcomes(passed=1)


def test_own_settings_of_the_app_stay_in_force(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from langfuse import Langfuse

        def test_mask(langfuse_fresh_client, langfuse_spans):
            client = Langfuse(
                public_key="pk-hard", secret_key="sk-hard", base_url="https://langfuse.example",
                environment="staging", release="r1",
                mask=lambda data, **_: "***",
                should_export_span=lambda span: span.name != "noise",
            )
            client.start_observation(name="noise").end()
            client.start_observation(name="kept", input="secret").end()
            (kept,) = langfuse_spans
            assert (kept.input, kept.environment, kept.release) == ("***", "staging", "r1")
            (noise,) = langfuse_spans.filtered
            assert noise.name == "noise"
            langfuse_spans.assert_not_exported("secret")
    """)
    app.runpytest().assert_outcomes(passed=1)


def test_custom_exporter_and_foreign_providers(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from langfuse import Langfuse
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        def test_own_exporter_is_teed(langfuse_fresh_client, langfuse_spans):
            exporter = InMemorySpanExporter()
            client = Langfuse(span_exporter=exporter, tracer_provider=TracerProvider())
            client.start_observation(name="both").end()
            assert [o.name for o in langfuse_spans] == ["both"]
            assert [s.name for s in exporter.get_finished_spans()] == ["both"]

        def test_provider_set_before(langfuse_fresh_client, langfuse_spans):
            trace.set_tracer_provider(TracerProvider())
            Langfuse().start_observation(name="before").end()
            assert [o.name for o in langfuse_spans] == ["before"]

        def test_provider_set_after(langfuse_fresh_client, langfuse_spans):
            client = Langfuse()
            trace.set_tracer_provider(TracerProvider())
            client.start_observation(name="after").end()
            assert [o.name for o in langfuse_spans] == ["after"]

        def test_two_projects(langfuse_fresh_client, langfuse_spans):
            a = Langfuse(public_key="pk-a", secret_key="sk-a")
            b = Langfuse(public_key="pk-b", secret_key="sk-b")
            a.start_observation(name="a").end()
            b.start_observation(name="b").end()
            assert sorted(o.name for o in langfuse_spans) == ["a", "b"]
    """)
    app.runpytest().assert_outcomes(passed=4)


def test_a_fresh_client_leaves_nothing_behind(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import threading
        import pytest
        from opentelemetry import trace
        from app import answer, langfuse

        @pytest.fixture(scope="module")
        def threads():
            return set(threading.enumerate())

        @pytest.mark.parametrize("i", range(4))
        def test_one_copy(i, threads, langfuse_fresh_client, langfuse_spans):
            client = langfuse_fresh_client(environment=f"env-{i}")
            client.start_observation(name="one").end()
            (one,) = langfuse_spans
            assert one.environment == f"env-{i}"

        def test_restored(threads, langfuse_spans):
            assert set(threading.enumerate()) - threads == set()
            answer("why?")
            langfuse_spans.assert_contains("span answer")
    """)
    app.runpytest("-p", "no:randomly").assert_outcomes(passed=5)


def test_an_app_that_shuts_its_client_down_in_every_test(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import pytest
        from opentelemetry import trace
        from app import answer, langfuse

        @pytest.mark.parametrize("i", range(3))
        def test_shutdown(i, langfuse_spans):
            answer("why?")
            langfuse.create_score(name="s", value=i, trace_id="0" * 31 + "1")
            langfuse.shutdown()
            trace.get_tracer_provider().shutdown()
            assert len(langfuse_spans) == 3
            assert [s.value for s in langfuse_spans.scores] == [i]
    """)
    app.runpytest().assert_outcomes(passed=3)


@pytest.mark.slow
def test_no_span_is_lost_in_a_tight_loop(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import langfuse

        def test_many(langfuse_spans):
            # More than fit in the queue of the SDK's exporter.
            for _ in range(4_000):
                langfuse.start_observation(name="x").end()
            assert len(langfuse_spans) == 4_000
            langfuse_spans.assert_flushed()
    """)
    app.runpytest().assert_outcomes(passed=1)


def test_clear_and_wait_for(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import threading
        from app import answer, langfuse

        def test_clear(langfuse_spans):
            answer("one")
            langfuse_spans.clear()
            assert len(langfuse_spans) == 0
            thread = threading.Thread(target=answer, args=("two",))
            thread.start()
            langfuse_spans.wait_for("generation llm")
            langfuse_spans.wait_for(count=3)
            thread.join()
    """)
    app.runpytest().assert_outcomes(passed=1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), [("LANGFUSE_TRACING_ENABLED", "False"), ("OTEL_SDK_DISABLED", "true")])
def test_the_summary_says_what_switched_tracing_off(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    app.makepyfile("""
        from app import answer

        def test_still_works():
            assert answer("why?") == "because"
    """)
    result = app.runpytest_subprocess("--langfuse-capture")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"langfuse: 0 observations in 0 tests (tracing is switched off by {name}={value})"])


@pytest.mark.slow
def test_the_summary_says_that_values_are_cut(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "8")
    app.makepyfile("""
        from app import langfuse

        def test_cut(langfuse_spans):
            langfuse.start_observation(name="a", input={"question": "why?"}).end()
            assert langfuse_spans.one("span a").input == '{"questi'
    """)
    result = app.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    cut = "values are cut after 8 characters by OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT, JSON in its middle"
    result.stdout.fnmatch_lines([f"langfuse: 1 observation in 1 test ({cut})"])


@pytest.mark.slow
def test_a_missing_key_is_left_missing(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-real")
    app.makepyfile("""
        import os
        from app import answer

        def test_it(langfuse_spans):
            answer("why?")
            assert "LANGFUSE_SECRET_KEY" not in os.environ
            assert len(langfuse_spans) == 0
    """)
    app.runpytest_subprocess("--langfuse-capture").assert_outcomes(passed=1)


@pytest.mark.slow
def test_many_threads_at_once(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import threading
        from app import langfuse

        def test_threads(langfuse_spans):
            def work(n):
                for i in range(400):
                    with langfuse.start_as_current_observation(name=f"w{n}"):
                        langfuse.start_observation(name="inner").end()

            threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert len(langfuse_spans) == 8 * 400 * 2
            assert all(o.parent is not None for o in langfuse_spans if o.name == "inner")
    """)
    app.runpytest().assert_outcomes(passed=1)


@pytest.mark.slow
def test_a_fork_in_a_captured_test(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import multiprocessing
        import threading
        from app import answer
        from langfuse import get_client

        def test_fork(langfuse_spans):
            answer("parent")
            process = multiprocessing.get_context("fork").Process(target=answer, args=("child",))
            process.start()
            process.join(30)
            assert process.exitcode == 0
            assert len(langfuse_spans) == 3

        def test_no_child_waits_for_a_lock_that_another_thread_held(langfuse_spans):
            client = get_client()
            lock = client._resources.httpx_client.cookies.jar._cookies_lock
            held, forked = threading.Event(), threading.Event()

            def read_an_answer():
                with lock:
                    held.set()
                    forked.wait()

            thread = threading.Thread(target=read_an_answer)
            thread.start()
            held.wait()
            process = multiprocessing.get_context("fork").Process(target=client.get_prompt, args=("greeting",), kwargs={
                "fallback": "Hello", "max_retries": 0,
            })
            process.start()
            process.join(30)
            forked.set()
            thread.join()
            process.kill()
            assert process.exitcode == 0
    """)
    app.runpytest_subprocess("-W", "ignore").assert_outcomes(passed=2)


@pytest.mark.skipif(
    "mask_otel_spans" not in inspect.signature(Langfuse).parameters, reason="this langfuse has no mask_otel_spans"
)
def test_a_mask_that_raises_is_named(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import pytest

        def test_mask(langfuse_fresh_client, langfuse_spans):
            def mask(*, params):
                raise RuntimeError("mask is broken")

            langfuse_fresh_client(mask_otel_spans=mask).start_observation(name="lost").end()
            assert len(langfuse_spans) == 0
            with pytest.raises(AssertionError, match="lost"):
                langfuse_spans.assert_flushed()
    """)
    app.runpytest().assert_outcomes(passed=1)


@pytest.mark.slow
def test_tests_that_ask_for_nothing_go_their_own_way(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_langfuse.outage.server import LangfuseServer

    app.makepyfile("""
        from app import answer, langfuse

        def test_live_before():
            answer("live")
            assert langfuse.auth_check()
            langfuse.flush()

        def test_captured(langfuse_spans):
            answer("captured")
            assert langfuse.get_prompt("unknown", fallback="fallback").prompt == "fallback"
            assert len(langfuse_spans) == 3

        def test_live_after():
            answer("live")
            langfuse.flush()
    """)
    with LangfuseServer() as server:
        monkeypatch.setenv("LANGFUSE_BASE_URL", server.url)
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-live")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-live")
        app.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=3)
        bodies = b"".join(server.stand_in.bodies)
        paths = [arrival.path for arrival in server.arrivals]
    assert b"captured" not in bodies
    assert bodies.count(b"because") == 4
    assert not [path for path in paths if "prompts" in path]


def test_a_score_sent_twice_is_one_score(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import langfuse

        def test_scores(langfuse_spans):
            for value in (0.0, 1.0):
                langfuse.create_score(name="quality", value=value, score_id="s-1", trace_id="0" * 31 + "1")
            (score,) = langfuse_spans.scores
            assert (score.name, score.value) == ("quality", 1.0)
    """)
    app.runpytest().assert_outcomes(passed=1)


def test_scores_of_what_nothing_made_are_counted(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import answer, langfuse

        TRACES = []

        def test_made(langfuse_spans):
            answer("why?")
            TRACES.append(langfuse_spans[0].trace_id)
            langfuse.create_score(name="good", value=1, trace_id=TRACES[0])
            langfuse.create_score(name="lost", value=1, trace_id="f" * 32)
            assert [score.name for score in langfuse_spans.orphan_scores] == ["lost"]

        def test_scored_later(langfuse_spans):
            langfuse.create_score(name="late", value=1, trace_id=TRACES[0])
            assert not langfuse_spans.orphan_scores

        def test_nobody_looks():
            langfuse.create_score(name="lost", value=1, trace_id="e" * 32)
    """)
    result = app.runpytest("--langfuse-capture", "-p", "no:randomly")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["langfuse: * in 1 test, 2 scores of what nothing made"])


def test_what_a_test_begins_and_ends_after_it(app: pytest.Pytester) -> None:
    """An upload takes three requests, and a test may end between two of them; so may a thread's work on a dataset."""
    app.makepyfile("""
        import threading

        import httpx
        import pytest
        from app import answer, langfuse
        from langfuse.media import LangfuseMedia

        begun, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

        def test_begins(langfuse_api, langfuse_server):  # With a server, the test does not wait for what is sent.
            def put(request):
                begun.set()
                assert goes_on.wait(30)
                return httpx.Response(200)

            def work():
                langfuse.create_dataset(name="questions")
                begun_2.set()
                assert goes_on.wait(30)
                langfuse.create_dataset_item(dataset_name="questions", input="why?")
                ended.set()

            begun_2 = threading.Event()
            langfuse_api.route(method="PUT").mock(side_effect=put)
            threading.Thread(target=work).start()
            picture = LangfuseMedia(content_bytes=b"png", content_type="image/png")
            langfuse.start_observation(name="describe", input=picture).end()
            langfuse._resources.tracer_provider.force_flush()
            assert begun.wait(30) and begun_2.wait(30)

        def test_ends(langfuse_spans, caplog):
            goes_on.set()
            assert ended.wait(30)
            langfuse.flush()
            assert caplog.records == []
            assert not langfuse_spans
    """)
    result = app.runpytest("--langfuse-capture", "-p", "no:randomly")
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("workers", ["-n0", pytest.param("-n1", marks=pytest.mark.slow)])
def test_show_all_says_that_no_test_was_captured(app: pytest.Pytester, workers: str) -> None:
    app.makepyfile(test_plain="def test_plain(): pass", test_spans="def test_spans(langfuse_spans): pass")
    hint = "langfuse: --langfuse-show=all shows no trace, since no test was captured; add --langfuse-capture"
    for arguments, shown in (
        (("test_plain.py", "--langfuse-show=all"), True),
        # A fixture captures its test alone.
        (("--langfuse-show=all",), False),
        (("test_plain.py", "--langfuse-show=all", "--langfuse-capture"), False),
        (("test_plain.py", "--langfuse-show=none"), False),
        (("test_plain.py", "--langfuse-show=all", "--collect-only"), False),
        (("test_plain.py",), False),
    ):
        result = app.runpytest(workers, *arguments)
        assert result.ret == 0
        assert (hint in result.stdout.lines) is shown, arguments
    # A setting that stays is for the runs that capture.
    app.makeini("[pytest]\nlangfuse_show = all\n")
    assert hint not in app.runpytest(workers, "test_plain.py").stdout.lines
