"""Who fails for a connection that was refused: the test that tried it, or the session."""

import pytest

from tests.helpers.loopback_langfuse import Collector
from tests.helpers.tiers import first_of
from tests.plugin.sealed.folder_of_suite import folder_of_suite, real

# Slow: runs suites that wait for connections.
pytestmark = pytest.mark.slow

#: An application that speaks to Langfuse without any client of it.
RAW = """
    import os, urllib.request

    def tell():
        url = os.environ["LANGFUSE_BASE_URL"] + "/api/public/ingestion"
        return urllib.request.urlopen(url, data=b"{}", timeout=5).status

    def tell_carefully():
        try:
            return tell()
        except OSError:
            return None
"""
LINE = "raw.py:5 tried to connect to 127.0.0.1:* (LANGFUSE_BASE_URL), which a captured test must not reach: *"
both = pytest.mark.parametrize("arguments", first_of([[], ["--langfuse-capture"]]), ids=["by fixture", "by option"])
__all__ = ["real"]


@pytest.fixture
def folder(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real: Collector) -> pytest.Pytester:
    return folder_of_suite(pytester, monkeypatch, real, raw=RAW)


@both
def test_the_test_fails_whatever_it_makes_of_the_error(folder, real, arguments):
    folder.makepyfile("""
        import threading
        import pytest
        from raw import tell, tell_carefully

        def test_caught(langfuse_spans):
            assert tell_carefully() is None

        def test_not_caught(langfuse_spans):
            tell()

        def test_skipped(langfuse_spans):
            tell_carefully()
            pytest.skip("no Langfuse here")

        @pytest.mark.xfail(reason="known")
        def test_expected_failure(langfuse_spans):
            tell()

        def test_in_a_thread(langfuse_spans):
            thread = threading.Thread(target=tell_carefully)
            thread.start()
            thread.join()

        @pytest.fixture
        def setup():
            tell_carefully()

        def test_in_a_fixture(langfuse_spans, setup):
            pass

        @pytest.fixture
        def teardown():
            yield
            tell_carefully()

        def test_in_a_teardown(langfuse_spans, teardown):
            pass

        def test_clean(langfuse_spans):
            pass
    """)
    result = folder.runpytest_subprocess(*arguments, "-v")
    assert result.ret == 1
    result.assert_outcomes(failed=5, errors=2, passed=2)
    result.stdout.fnmatch_lines([LINE, "*Langfuse: refused connections*", LINE])
    assert result.stdout.str().count("test_clean PASSED") == 1
    assert real.requests == []


@both
def test_hosts_that_only_the_code_names(folder, real, arguments, monkeypatch):
    """A client of the API and each exporter, built before the run began to capture, or later."""
    monkeypatch.setenv("LANGFUSE_BASE_URL", "http://127.0.0.1:9")
    folder.makepyfile("""
        import socket
        import pytest
        from langfuse.api import AsyncLangfuseAPI, LangfuseAPI
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        BUILT = {
            "LangfuseAPI": lambda url: LangfuseAPI(base_url=url, username="pk", password="sk"),
            "AsyncLangfuseAPI": lambda url: AsyncLangfuseAPI(base_url=url, username="pk", password="sk"),
            "spans": lambda url: OTLPSpanExporter(endpoint=url + "/v1/traces"),
            "metrics": lambda url: OTLPMetricExporter(endpoint=url + "/v1/metrics"),
            "logs": lambda url: OTLPLogExporter(endpoint=url + "/v1/logs"),
        }
        PORTS = dict(zip(BUILT, range(10, 20)))
        early = [build(f"http://127.0.0.1:{PORTS[name]}") for name, build in BUILT.items()]

        @pytest.mark.parametrize("name", BUILT)
        def test_early(langfuse_spans, name):
            with pytest.raises(ConnectionRefusedError, match="which a captured test must not reach"):
                socket.create_connection(("127.0.0.1", PORTS[name]))

        @pytest.mark.parametrize("name", BUILT)
        def test_late(langfuse_spans, name):
            port = PORTS[name] + 10
            built = BUILT[name](f"http://127.0.0.1:{port}")
            with pytest.raises(ConnectionRefusedError, match="which a captured test must not reach"):
                socket.create_connection(("127.0.0.1", port))
    """)
    result = folder.runpytest_subprocess(*arguments)
    # Each has passed but for the attempt.
    result.assert_outcomes(failed=10)
    assert "DID NOT RAISE" not in result.stdout.str()
    assert "match" not in result.stdout.str()


def test_an_uncaptured_test_reaches_it(folder, real):
    folder.makepyfile("""
        from raw import tell, tell_carefully

        def test_captured(langfuse_spans):
            assert tell_carefully() is None

        def test_not_captured():
            assert tell() == 200
    """)
    result = folder.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(failed=1, passed=1)
    assert len(real.requests) == 1


@pytest.mark.parametrize("parallel", [[], ["-n1"]], ids=["alone", "xdist"])
@pytest.mark.parametrize("quiet", [[], pytest.param(["-q"], marks=pytest.mark.exhaustive)], ids=["", "quiet"])
def test_an_attempt_between_tests_fails_the_session(folder, real, parallel, quiet):
    folder.makeconftest("""
        from raw import tell_carefully

        def pytest_runtest_logfinish():
            tell_carefully()

        def pytest_sessionfinish():
            tell_carefully()
    """)
    folder.makepyfile("def test_it(): pass")
    result = folder.runpytest_subprocess("--langfuse-capture", *parallel, *quiet)
    assert result.ret == 1
    last = [line for line in result.outlines if line][-1]
    assert last.startswith("Langfuse: refused connections outside of captured tests: raw.py:5 tried to connect to 127.")
    assert "passed" in result.stdout.str()
    assert real.requests == []


def test_two_places_are_one_line(folder, real):
    folder.makeconftest("""
        from raw import tell_carefully, tell

        def pytest_sessionfinish():
            tell_carefully()
            tell_carefully()
            try:
                import socket
                socket.create_connection(("us.cloud.langfuse.com", 443))
            except OSError:
                pass
    """)
    folder.makepyfile("def test_it(): pass")
    result = folder.runpytest_subprocess("--langfuse-capture")
    assert result.ret == 1
    assert [line for line in result.outlines if line][-1].endswith("or mock the request (2 times); and 1 other")


def test_what_failed_before_keeps_its_status(folder):
    folder.makeconftest("""
        from raw import tell_carefully

        def pytest_sessionfinish():
            tell_carefully()
    """)
    folder.makepyfile("def test_it(): raise KeyboardInterrupt")
    assert folder.runpytest_subprocess("--langfuse-capture").ret == 2


def test_after_the_session_it_is_said_on_stderr(folder, real):
    folder.makepyfile("""
        import atexit
        from raw import tell_carefully

        atexit.register(tell_carefully)
        atexit.register(tell_carefully)

        def test_it(): pass
    """)
    result = folder.runpytest_subprocess("--langfuse-capture")
    assert result.ret == 0
    assert [line for line in result.errlines if line.startswith("pytest-langfuse: refused: raw.py:5 tried")] != []
    assert real.requests == []


def test_a_connection_that_an_uncaptured_test_keeps_open(folder, real):
    folder.makepyfile("""
        import os
        import pytest
        import requests

        session = requests.Session()

        def tell():
            return session.post(os.environ["LANGFUSE_BASE_URL"], timeout=5).status_code

        def test_not_captured():
            assert tell() == 200

        def test_captured(langfuse_spans):
            with pytest.raises(requests.ConnectionError):
                tell()

        def test_not_captured_again():
            assert tell() == 200
    """)
    result = folder.runpytest_subprocess("-p", "no:randomly")
    # The one that tried it, and has caught the error.
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["*test_a_connection_that_an_uncaptured_test_keeps_open.py:8 tried to connect to *"])
    assert len(real.requests) == 2


def test_a_run_that_captures_nothing_is_left_alone(folder, real):
    folder.makepyfile("""
        import socket
        from raw import tell

        def test_it():
            assert tell() == 200
            assert "connect" not in vars(socket.socket)
    """)
    folder.runpytest_subprocess().assert_outcomes(passed=1)
    assert len(real.requests) == 1


def test_no_export_over_grpc_connects_from_a_captured_test(folder):
    pytest.importorskip("grpc")
    folder.makepyfile("""
        import socket

        def connects():
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

            with socket.create_server(("127.0.0.1", 0)) as server:
                server.settimeout(2)
                exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{server.getsockname()[1]}", timeout=1)
                try:
                    exporter.export([])
                    server.accept()[0].close()
                except (ConnectionRefusedError, TimeoutError):
                    return False
                finally:
                    exporter.shutdown()
                return True

        def test_captured(langfuse_spans):
            assert not connects()

        def test_not_captured():
            assert connects()
    """)
    result = folder.runpytest_subprocess("-p", "no:randomly", "-v")
    result.stdout.fnmatch_lines(["*::test_not_captured PASSED*"])
    assert "assert not connects()" not in result.stdout.str()
