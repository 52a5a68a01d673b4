"""The ports that `langfuse_process` gives to servers: nobody else takes them before the server binds them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_langfuse.standin.http import free_ports
from pytest_langfuse.standin.http.free_ports import PortClaims, free_port

CHOOSE = """
import json, sys
from pytest_langfuse.standin.http import free_ports
free_ports._FIRST, free_ports._LAST, free_ports._TRIES = int(sys.argv[1]), int(sys.argv[1]) + 39, 100_000
print(json.dumps([free_ports.free_port() for _ in range(10)]), flush=True)
sys.stdin.read()
"""


def test_no_two_runs_get_the_same_port() -> None:
    first = str(free_port() - 39)
    running = [
        subprocess.Popen([sys.executable, "-c", CHOOSE, first], stdin=-1, stdout=-1, text=True) for _ in range(3)
    ]
    chosen: list[int] = []
    for process in running:
        assert process.stdout is not None
        chosen += json.loads(process.stdout.readline())
    for process in running:
        process.communicate("")
    assert len(chosen) == len(set(chosen)) == 30
    assert all(int(first) <= port < int(first) + 40 for port in chosen)


def test_a_port_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(10_000 <= port < 32_768 for port in ports)
    # All of these are taken: the system chooses.
    monkeypatch.setattr(free_ports, "_FIRST", ports[0])
    monkeypatch.setattr(free_ports, "_LAST", ports[0])
    assert free_port() != ports[0]


def test_what_somebody_listens_on_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(free_ports, "claims", PortClaims())
        monkeypatch.setattr(free_ports, "_FIRST", port)
        monkeypatch.setattr(free_ports, "_LAST", port)
        assert free_port() != port


@pytest.mark.skipif(sys.platform == "win32", reason="files of ports exist on POSIX systems only")
def test_a_forked_child_does_not_get_its_parents_port() -> None:
    port = free_port()
    child = os.fork()
    if not child:
        os._exit(int(free_ports.claims.claim(port)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="files of ports exist on POSIX systems only")
def test_without_a_place_for_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "missing"))
    monkeypatch.setattr(free_ports, "claims", PortClaims())
    assert free_port() != free_port()


def test_an_address_of_another_machine() -> None:
    with pytest.raises(OSError, match="assign requested address"):
        free_port("192.0.2.1")
