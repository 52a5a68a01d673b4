"""A run that ends early, in workers, or with a test that fails sends nothing either."""

import pytest

from tests.plugin.sealed.real_langfuse import RealLangfuse

pytestmark = pytest.mark.slow

SUITE = """
    import pytest
    from langfuse import Langfuse

    langfuse = Langfuse()


    def leave():
        langfuse.start_observation(name="leak").end()
        langfuse.create_score(name="leak", value=1, trace_id="1" * 32)


    @pytest.mark.parametrize("n", range(4))
    def test_one(langfuse_spans, n):
        leave()
        END


    def test_more(langfuse_server):
        leave()
"""

ENDS = {
    "Ctrl-C": ("raise KeyboardInterrupt", []),
    "-x": ("assert False", ["-x"]),
    "pytest.exit": ('pytest.exit("enough")', []),
    "workers": ("pass", ["-n", "2"]),
}
MODES = {"by fixture": [], "by option": ["--langfuse-capture"]}
SHOWN = {
    ("Ctrl-C", "by option"),
    ("-x", "by fixture"),
    ("pytest.exit", "by option"),
    ("workers", "by fixture"),
}


@pytest.mark.parametrize(
    ("end", "mode"),
    [
        pytest.param(end, mode, id=f"{end}-{name}", marks=[] if (end, name) in SHOWN else pytest.mark.exhaustive)
        for end in ENDS
        for name, mode in MODES.items()
    ],
)
def test_nothing_reaches_langfuse(app: pytest.Pytester, real: RealLangfuse, end: str, mode: list[str]) -> None:
    statement, arguments = ENDS[end]
    app.makepyfile(SUITE.replace("END", statement))
    result = app.runpytest_subprocess("-p", "no:randomly", *arguments, *mode)
    result.stdout.fnmatch_lines(["*langfuse: *"] if end in {"-x", "workers"} else ["*"])
    assert real.requests == []


def test_a_run_within_an_uncaptured_one(app: pytest.Pytester, real: RealLangfuse) -> None:
    app.makepyfile(
        """
        import atexit

        import pytest
        from langfuse import get_client

        pytest_plugins = ["pytester"]

        INNER = '''
            import atexit
            from langfuse import get_client

            def test_inner(langfuse_spans):
                client = get_client()
                client.start_observation(name="leak").end()
                client.create_score(name="leak", value=1, trace_id="1" * 32)
        '''


        @pytest.mark.parametrize("option", [[], ["--langfuse-capture"]])
        def test_outer(pytester, option):
            pytester.makepyfile(INNER)
            pytester.runpytest_inprocess("-p", "no:randomly", *option).assert_outcomes(passed=1)


        def test_free():
            get_client().create_score(name="free", value=1, trace_id="1" * 32)
        """
    )
    app.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=3)
    assert not real.got("leak"), real.requests
    assert real.got("free")
