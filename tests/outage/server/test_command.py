"""The command `python -m pytest_langfuse.outage.server`, run in a process."""

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_langfuse.outage.server.command import main

# Slow: starts processes.
pytestmark = pytest.mark.slow


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "pytest_langfuse.outage.server", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def post(url: str, path: str, body: object) -> int:
    client = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    client.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    status = client.getresponse().status
    client.close()
    return status


def spans(*names: str) -> dict[str, object]:
    made = [{"traceId": "ab" * 16, "spanId": f"{n:016x}", "name": name} for n, name in enumerate(names, 1)]
    return {"resourceSpans": [{"scopeSpans": [{"spans": made}]}]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_json_lines_from_start_to_end(number: signal.Signals) -> None:
    with running("--json", "--fault", "http_503", "--after", "1", "--times", "1") as process:
        listening = json.loads(process.stdout.readline())
        assert listening["fault"] == "http_503"
        assert post(listening["url"], "/api/public/otel/v1/traces", spans("answer", "llm")) == 200
        assert post(listening["url"], "/api/public/scores", {"name": "s", "value": 1, "traceId": "t"}) == 503
        assert post(listening["url"], "/api/public/scores", {"name": "s", "value": 1, "traceId": "t"}) == 200
        process.send_signal(number)
        events = [json.loads(line) for line in process.stdout]
        assert (process.wait(timeout=20), process.stderr.read()) == (0, "")
    assert [(event.get("status"), event.get("fault"), event.get("observations")) for event in events[:3]] == [
        (200, None, ["answer", "llm"]),
        (None, "http_503", []),
        (200, None, []),
    ]
    assert events[3:] == [{"event": "summary", "requests": 3, "observations": 2, "scores": 1, "struck": 1}]


def test_text() -> None:
    with running("--fault", "http_503", "--paths", "scores") as process:
        line = process.stdout.readline()
        url = line.split()[2]
        assert line == (
            f"listening on {url}  (LANGFUSE_BASE_URL={url}  OTEL_EXPORTER_OTLP_ENDPOINT={url}/api/public/otel)\n"
        )
        body = spans("answer")
        post(url, "/api/public/otel/v1/traces", body)
        post(url, "/api/public/scores", [])
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().splitlines() == [
            "fault: http_503",
            f"POST /api/public/otel/v1/traces ({len(json.dumps(body))} bytes) -> 200",
            "    1 observation: answer",
            "POST /api/public/scores (2 bytes) -> http_503",
            "2 requests, 1 observation, 0 scores; 1 struck by http_503",
        ]
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize(
    ("fault", "url"), [("dns_error", "http://langfuse.invalid:"), ("tls_error", "https://127.0.0.1:")]
)
def test_what_only_a_client_can_meet_is_at_another_address(fault: str, url: str) -> None:
    with running("--json", "--fault", fault) as process:
        assert json.loads(process.stdout.readline())["url"].startswith(url)


def test_refused() -> None:
    with running("--json", "--fault", "refused") as process:
        url = json.loads(process.stdout.readline())["url"]
        with pytest.raises(ConnectionRefusedError):
            post(url, "/", {})


def test_it_ends_with_a_reader_that_is_gone() -> None:
    with running("--json") as process:
        url = json.loads(process.stdout.readline())["url"]
        process.stdout.close()
        assert post(url, "/api/public/otel/v1/traces", spans("answer")) == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_help_lists_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    from pytest_langfuse.outage.faults import FAULTS

    with pytest.raises(SystemExit) as raised:
        main(["--help"])
    assert raised.value.code == 0
    text = capsys.readouterr().out
    assert [name for name in FAULTS if f"  {name} " not in text] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault", "hnag"], "--fault hnag: unknown fault 'hnag', did you mean 'hang'?"),
        (["--after", "1"], "--after says when a fault strikes: give --fault, too"),
        (["--retry-after", "1"], "--retry-after says when a fault strikes: give --fault, too"),
        (
            ["--fault", "hang", "--paths", "otpl"],
            "paths: unknown endpoint 'otpl', expected one of otlp, scores",
        ),
        (["--fault", "hang", "--rate", "7"], "--fault hang: rate: expected a number above 0 and at most 1, got 7.0"),
        (["--fault", "hang", "--after", "x"], "argument --after: invalid int value: 'x'"),
        (["--port", "99999"], "argument --port: '99999' is not a port number (0 to 65535)"),
        (["--port=-1"], "argument --port: '-1' is not a port number"),
        (["--fault", "refused", "--after", "1"], "refused strikes before a request arrives"),
        (["--fault", "hang", "--fault", "dns_error"], "dns_error strikes before a request arrives"),
        (["--public-key", "pk"], "--public-key and --secret-key belong together"),
        (["--faults", "hang"], "unrecognized arguments: --faults hang"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert message in capsys.readouterr().err


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit):
        main(["--port", str(taken.getsockname()[1])])
    assert "Address already in use" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full, a disk that is full")
@pytest.mark.parametrize(("output", "why"), [(">/dev/full", "No space left on device"), (">&-", "it is closed")])
def test_an_output_that_can_not_be_written(output: str, why: str) -> None:
    command = ["sh", "-c", f'"$0" -m pytest_langfuse.outage.server {output}', sys.executable]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    prefix = "python -m pytest_langfuse.outage.server: error: cannot write to the standard output"
    assert ended.stderr == f"{prefix}: {why}\n"
