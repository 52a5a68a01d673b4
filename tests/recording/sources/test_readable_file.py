"""Files that a user names: what could be waited for without end is refused."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_langfuse import Observations
from pytest_langfuse.recording.sources.readable_file import content_of, require_file, standard_input
from pytest_langfuse.report.compared_run import BadComparison, ComparedRun
from pytest_langfuse.rules.baseline import BadBaseline, read_baseline


@pytest.fixture
def pipe(tmp_path) -> Path:
    """A named pipe to which nobody writes."""
    os.mkfifo(tmp_path / "pipe.json")
    return tmp_path / "pipe.json"


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (content_of, OSError),
        (require_file, OSError),
        (Observations.from_file, OSError),
        (read_baseline, BadBaseline),
        (ComparedRun.of_file, BadComparison),
    ],
)
def test_a_named_pipe(pipe, read: Callable[[Path], object], error):
    with pytest.raises(error, match="it is a named pipe, not a file"):
        read(pipe)


def test_a_link_to_one(pipe, tmp_path):
    (tmp_path / "link.json").symlink_to(pipe)
    with pytest.raises(OSError, match="it is a named pipe, not a file"):
        content_of(tmp_path / "link.json")


def test_devices_and_sockets(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="it is a device, not a file"):
        content_of(Path("/dev/zero"))
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.json")
        with pytest.raises(OSError, match=r"it is a socket, not a file"):
            content_of(Path("s.json"))


def test_files_and_pipes_of_the_shell(tmp_path):
    (tmp_path / "a.json").write_bytes(b"{}")
    assert content_of(tmp_path / "a.json") == b"{}"
    reader, writer = os.pipe()
    try:
        os.write(writer, b"[]")
        os.close(writer)
        assert content_of(Path(f"/dev/fd/{reader}")) == b"[]"
    finally:
        os.close(reader)


def test_a_closed_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(OSError, match="it is closed"):
        standard_input()
