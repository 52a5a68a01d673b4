"""In a captured test, Langfuse's API shows what the test has exported: in this process, and on a socket."""

import pytest

READ = """
    import pytest
    from langfuse import get_client
    from langfuse.api import NotFoundError
    from app import answer

    def read(client):
        return [row.name for row in client.api.observations.get_many(fields="core,basic").data]

    @pytest.fixture(params=["in process", "socket"], autouse=True)
    def way(request):
        if request.param == "socket":
            request.getfixturevalue("langfuse_server")

    def test_what_was_flushed_is_there(langfuse_spans):
        client = get_client()
        answer("why?")
        # Nothing was flushed yet: neither would Langfuse know of it.
        assert read(client) == []
        client.flush()
        assert read(client) == ["llm", "search", "answer"]
        assert [o.name for o in langfuse_spans] == ["answer", "search", "llm"]

    def test_of_other_tests_nothing_is_there(langfuse_spans):
        assert read(get_client()) == []

    def test_scores(langfuse_spans):
        client = get_client()
        with client.start_as_current_observation(name="root") as root:
            client.score_current_trace(name="stars", value=5)
        client.flush()
        api = client.api
        many = api.scores.get_many(trace_id=root.trace_id) if hasattr(api.scores, "get_many") else None
        assert many is None or [(score.name, score.value) for score in many.data] == [("stars", 5)]
"""


@pytest.mark.parametrize("arguments", [[], ["--langfuse-capture"]], ids=["by fixture", "by option"])
def test_what_a_test_has_exported_is_read_back(app: pytest.Pytester, arguments: list[str]) -> None:
    app.makepyfile(READ)
    app.runpytest(*arguments).assert_outcomes(passed=6)


@pytest.mark.slow
def test_both_ways_of_one_test_are_one_list(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from langfuse import get_client

        def names():
            return [row.name for row in get_client().api.observations.get_many().data]

        def test_exports_before_and_after_there_was_a_server(langfuse_spans, request):
            client = get_client()
            client.start_observation(name="first").end()
            client.flush()
            server = request.getfixturevalue("langfuse_server")
            assert names() == ["first"]
            client.start_observation(name="second").end()
            client.flush()
            assert names() == ["second", "first"]
            assert [o.name for o in server.spans] == ["second"]
    """)
    app.runpytest("--langfuse-capture").assert_outcomes(passed=1)


def test_what_a_fault_refused_is_not_there(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from langfuse import get_client

        def test_refused(langfuse_outage, langfuse_spans):
            client = get_client()
            with langfuse_outage("http_400"):
                client.start_observation(name="lost").end()
                client.flush()
            assert client.api.observations.get_many().data == []
    """)
    app.runpytest("--langfuse-capture").assert_outcomes(passed=1)
