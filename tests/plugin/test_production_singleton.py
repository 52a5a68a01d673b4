"""`langfuse_tracing`: the production module under capture."""

import pytest


def test_whoever_installs_it(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import threading
        import pytest
        from pytest_langfuse.tracing import get_langfuse_client, init_tracing, request_context, shutdown_tracing

        BEFORE = set(threading.enumerate())

        def test_by_the_fixture(langfuse_tracing, langfuse_spans):
            client = langfuse_tracing(environment="staging", sample_rate=1.0)
            client.start_observation(name="a").end()
            assert langfuse_spans.one("span a").environment == "staging"
            langfuse_spans.assert_flushed()

        def test_by_the_app(langfuse_tracing, langfuse_spans):
            init_tracing(environment="other", public_key="pk-own", secret_key="sk-own", base_url="https://langfuse.example")
            with request_context(user_id="u-1", session_id="s-1"):
                get_langfuse_client().start_observation(name="b").end()
            langfuse_spans.assert_tree("span b user_id=u-1 session_id=s-1 environment=other")
            report = shutdown_tracing(timeout=5.0)
            assert (report.exported, report.buffered, report.timed_out) == (1, 0, False)

        def test_with_defaults(langfuse_tracing, langfuse_spans):
            get_langfuse_client().start_observation(name="c").end()
            assert [o.name for o in langfuse_spans] == ["c"]

        def test_nothing_is_left(langfuse_spans):
            from app import answer
            answer("why?")
            assert len(langfuse_spans) == 3
            new = set(threading.enumerate()) - BEFORE
            assert not [thread for thread in new if "langfuse-tracing" in thread.name]
    """)
    app.runpytest("-p", "no:randomly").assert_outcomes(passed=4)


def test_missing_keys(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from pytest_langfuse.tracing import init_tracing

        def test_no_op(langfuse_tracing, langfuse_spans, monkeypatch, caplog):
            # Both are supplied where both are missing; one alone is a mistake, and stays one.
            monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-half")
            init_tracing().start_observation(name="nothing").end()
            assert len(langfuse_spans) == 0
            (line,) = [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
            assert "LANGFUSE_SECRET_KEY" in line.getMessage()
    """)
    app.runpytest().assert_outcomes(passed=1)
