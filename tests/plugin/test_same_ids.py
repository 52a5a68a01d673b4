"""Two observations of one id, which Langfuse takes for one: OpenTelemetry draws ids from `random`."""

import pytest


@pytest.mark.parametrize("mode", [[], ["--langfuse-capture"]], ids=["by fixture", "by option"])
def test_an_application_that_seeds_random(app: pytest.Pytester, mode: list[str]) -> None:
    app.makepyfile(
        """
        import random

        import pytest
        from app import langfuse


        def answer(name):
            random.seed(10)
            langfuse.start_observation(name=name).end()


        def test_twice(langfuse_spans):
            answer("first")
            answer("second")
            assert [o.name for o in langfuse_spans] == ["first"]
            (lost,) = langfuse_spans.unexported
            assert lost.observation.name == "second"
            with pytest.raises(AssertionError, match="another observation has the same id: the application seeds"):
                langfuse_spans.assert_flushed()


        def test_again(langfuse_spans):
            answer("first")
            langfuse_spans.assert_flushed()
            assert len(langfuse_spans) == 1
        """
    )
    app.runpytest("-p", "no:randomly", *mode).assert_outcomes(passed=2)
