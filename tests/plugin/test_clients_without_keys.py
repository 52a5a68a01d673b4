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


@pytest.mark.parametrize("arguments", [[], ["--langfuse-capture"]], ids=["fixture", "option"])
def test_get_client_finds_the_applications_own_alone(app: pytest.Pytester, arguments: list[str]) -> None:
    """Without capture a client without keys is none: beside it, there is no choice to be made."""
    app.makepyfile(
        application="""
        from langfuse import Langfuse, observe

        @observe
        def answer():
            pass

        def own():
            return Langfuse(public_key="pk-lf-own", secret_key="sk-lf-own", base_url="http://127.0.0.1:9")
        """,
        test_it="""
        import application
        from langfuse import Langfuse, get_client

        def test_without(langfuse_spans):
            application.answer()
            langfuse_spans.assert_tree("span answer")

        def test_own(langfuse_spans):
            application.own()
            application.answer()
            assert get_client()._resources.public_key == "pk-lf-own"
            langfuse_spans.assert_tree("span answer")

        def test_after_it(langfuse_spans):
            Langfuse()
            application.answer()
            assert get_client()._resources.public_key == "pk-lf-own"
            langfuse_spans.assert_tree("span answer")
        """,
    )
    app.runpytest("-p", "no:randomly", *arguments).assert_outcomes(passed=3)
