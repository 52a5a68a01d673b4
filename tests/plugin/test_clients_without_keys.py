"""Clients that were built without keys before a fixture alone captures a test."""

import pytest


@pytest.mark.parametrize(
    "client",
    [
        "Langfuse()",
        "Tenant('acme')",
    ],
    ids=["Langfuse", "subclass with other arguments"],
)
def test_a_client_that_was_built_at_import_is_captured(app: pytest.Pytester, client: str) -> None:
    app.makepyfile(
        application=f"""
        from langfuse import Langfuse
        class Tenant(Langfuse):
            def __init__(self, tenant):
                super().__init__(timeout=2)
                self.tenant = tenant

        client = {client}

        def answer():
            with client.start_as_current_observation(name="answer"):
                pass
        """,
        test_it="""
        import application

        def test_before():
            application.answer()

        def test_captured(langfuse_spans):
            application.answer()
            langfuse_spans.assert_tree("span answer")
            assert getattr(application.client, "tenant", "acme") == "acme"

        def test_after():
            application.answer()
        """,
    )
    app.runpytest("-p", "no:randomly").assert_outcomes(passed=3)


@pytest.mark.slow
def test_init_tracing_at_import_is_off_and_the_failure_says_why(app: pytest.Pytester) -> None:
    app.makepyfile(
        application="""
        from pytest_langfuse.tracing import init_tracing

        client = init_tracing(handle_signals=False)

        def answer():
            with client.start_as_current_observation(name="answer"):
                pass
        """,
        test_it="""
        import application

        def test_captured(langfuse_spans):
            application.answer()
            langfuse_spans.assert_tree("span answer")
        """,
    )
    result = app.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*The environment has no keys (LANGFUSE_PUBLIC_KEY and*"])
