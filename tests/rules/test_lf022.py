"""LF022: a second client of the same key, whose other settings the SDK ignores."""

import httpx
import pytest
from langfuse import Langfuse, get_client, observe
from opentelemetry.sdk.trace import TracerProvider

from pytest_langfuse.recording.sdk import hooks
from pytest_langfuse.recording.start_place import StartPlaces
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.rule_set import RuleSet

KEYS = {"public_key": "pk-lf-022", "secret_key": "sk-lf-022", "base_url": "http://127.0.0.1:9"}


@pytest.fixture(autouse=True)
def fresh(langfuse_fresh_client):
    """Let no client of this file outlive its test."""


def build(**settings):
    return Langfuse(**{**KEYS, **settings})


def hide(data, **_):
    return "***" if data else data


def test_the_mask_of_a_second_client_is_ignored(find):
    build()
    with build(mask=hide, sample_rate=0.5).start_as_current_observation(name="a", input="secret"):
        pass
    (finding,) = find("LF022")
    assert finding.severity == "error"
    assert finding.text.startswith("the client built at tests/rules/test_lf022.py:")
    assert "asks for mask=... and sample_rate=0.5, but " in finding.text
    assert (
        "keep to no mask and sample_rate=1.0 of the first client of its key (tests/rules/test_lf022.py:" in finding.text
    )
    assert finding.fix == "build one client with all settings and use get_client(public_key='pk-lf-022') elsewhere"


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ({}, {"secret_key": "sk-lf-other"}, "secret_key=..."),
        ({}, {"base_url": "http://user:word@127.0.0.1:8"}, "base_url='http://***@127.0.0.1:8'"),
        ({}, {"environment": "staging"}, "environment='staging'"),
        ({"flush_at": 15}, {"flush_at": 1}, "flush_at=1"),
        ({}, {"additional_headers": {"x-token": "t"}}, "additional_headers=..."),
        ({}, {"should_export_span": hide}, "should_export_span=..."),
        ({}, {"tracer_provider": TracerProvider()}, "tracer_provider=..."),
        ({"tracing_enabled": False}, {"tracing_enabled": True}, "tracing_enabled=True"),
    ],
)
def test_settings_that_are_ignored(find, first, second, shown):
    build(**first)
    build(**second)
    (finding,) = find("LF022")
    assert f"asks for {shown}, but" in finding.text
    assert "sk-lf" not in finding.text


def test_one_place_is_named_once(find):
    build()
    for _ in range(3):
        build(timeout=7)
    assert len(find("LF022")) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"sample_rate": 0.5, "mask": hide}, {}),
        ({"mask": hide, "timeout": 9}, {"mask": hide, "timeout": 9}),
        ({}, {"sample_rate": 1.0, "flush_at": 512, "base_url": "http://127.0.0.1:9/"}),
        ({}, {"tracing_enabled": False}),
        ({}, {"public_key": "pk-lf-022-other", "sample_rate": 0.5}),
        ({}, {"debug": False}),
    ],
)
def test_the_same_settings_fewer_or_another_project(find, first, second):
    build(**first)
    build(**second)
    assert find("LF022") == []


def test_get_client_and_observe_make_copies(find):
    build(mask=hide, environment="staging", timeout=9, sample_rate=0.9)

    @observe()
    def answer():
        get_client(public_key="pk-lf-022").update_current_span(input="x")

    answer(langfuse_public_key="pk-lf-022")
    assert find("LF022") == []


def test_a_function_that_builds_it_each_time(find):
    def client():
        return build(mask=lambda data, **_: data, should_export_span=lambda span: True, httpx_client=httpx.Client())

    for _ in range(3):
        client().start_observation(name="a").end()
    assert find("LF022") == []


def test_the_environment_counts_for_the_first(find, monkeypatch):
    monkeypatch.setenv("LANGFUSE_SAMPLE_RATE", "0.5")
    monkeypatch.setenv("LANGFUSE_TRACING_ENVIRONMENT", "staging")
    build()
    build(sample_rate=0.5, environment="staging")
    assert find("LF022") == []


def run(pytester, **files):
    pytester.makeini("[pytest]\nlangfuse_rules_select = LF012 LF022")
    pytester.makepyfile(**files)
    return pytester.runpytest("--langfuse-strict", "-p", "no:randomly", "-p", "no:cacheprovider")


KEYS_TEXT = "public_key='pk-lf-app', secret_key='sk-lf-app', base_url='http://127.0.0.1:9'"


def test_clients_of_two_modules_are_found_with_the_first_test(pytester):
    result = run(
        pytester,
        app=f"from langfuse import Langfuse\nlangfuse = Langfuse({KEYS_TEXT})",
        worker=f"from langfuse import Langfuse\nlangfuse = Langfuse({KEYS_TEXT}, sample_rate=0.1)",
        test_app="import app, worker\ndef test_a():\n    pass\ndef test_b():\n    pass",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        ["LF022 settings ignored: the client built at worker.py:2 asks for sample_rate=0.1, but * (app.py:2). Fix: *"]
    )


def test_clients_of_earlier_tests_and_fixtures_are_not_the_applications(pytester):
    result = run(
        pytester,
        conftest="""
            import app, pytest
            @pytest.fixture(scope="session")
            def of_session():
                return app.make("pk-lf-session", flush_at=1)
            @pytest.fixture
            def of_test():
                from langfuse import Langfuse
                return Langfuse(public_key="pk-lf-own", secret_key="sk-lf-app", flush_interval=0.1)
        """,
        app="""
            from langfuse import Langfuse
            def make(key, **more):
                return Langfuse(public_key=key, secret_key="sk-lf-app", **more)
        """,
        test_app="""
            import app
            def test_fixture(of_session):
                app.make("pk-lf-session", flush_at=2)
            def test_own_fixture(of_test):
                app.make("pk-lf-own", flush_at=3)
            def test_earlier():
                app.make("pk-lf-app", sample_rate=0.5)
            def test_later():
                app.make("pk-lf-app", sample_rate=0.6)
        """,
    )
    result.assert_outcomes(passed=4)


def test_settings_of_a_test_are_ignored_after_the_applications_client(pytester):
    result = run(
        pytester,
        app=f"from langfuse import Langfuse\nlangfuse = Langfuse({KEYS_TEXT})",
        test_app=f"""
            import app
            from langfuse import Langfuse
            def test_it():
                Langfuse({KEYS_TEXT}, sample_rate=0.5)
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["LF022 * built at test_app.py:4 asks for sample_rate=0.5, but *"])


def test_nothing_is_known_of_a_client_that_was_built_unseen(client, langfuse_spans):
    recorder = hooks.recorder
    recorder.places = StartPlaces(lambda _: True)
    evidence = evidence_of(langfuse_spans._source, "test", final=True)
    assert RuleSet.of(["LF022", "LF012"]).find(evidence) == []
