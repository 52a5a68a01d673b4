"""A spool on its worst days: a full disk, damaged files, other people's rows, and what other processes leave."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pytest_langfuse.tracing.delivery import spool as spool_module
from pytest_langfuse.tracing.delivery.buffer import BufferFailed
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.delivery.spool import Spool
from pytest_langfuse.tracing.delivery.spool_files import Destination, SpoolFile
from tests.helpers.paths import ROOT
from tests.tracing.delivery.test_buffer import MANY, body, content, names

MINE = Destination("pk-lf-mine", "https://langfuse.example")


def spool(path, destination=MINE, **limits):
    return Spool(
        path, **{"max_spans": 1000, "max_bytes": MANY, "ledger": SpanLedger(), **limits}, destination=destination
    )


def balance(buffer):
    return buffer._ledger.balance()


def rows(path):
    db = sqlite3.connect(path)
    try:
        return db.execute("SELECT COUNT(*) FROM batches").fetchone()[0]
    finally:
        db.close()


def change(path, statement, *values):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(statement, values)
    db.close()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(spool_module, "RETRY_AFTER", 0.0)


# -- damage ----------------------------------------------------------------------------------------------------


def left(path, count, padding=3000):
    """A file that a process has left, with a span a row; each row fills a page of its own."""
    first = spool(path)
    for number in range(count):
        first.put(body(number, padding=padding))
    first._file._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    first.close()


def damage(path, first=0.4, last=0.6):
    """Overwrite the middle of a file."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(int(size * first) // 4096 * 4096)
        file.write(b"\xa5" * (int(size * (last - first)) // 4096 * 4096))


def test_damaged_pages_at_the_start_are_moved_aside_and_the_rest_is_sent(tmp_path, caplog):
    left(tmp_path / "s", 50)
    damage(tmp_path / "s")
    after = spool(tmp_path / "s")
    assert sum(after.recover()) == 50
    after.put(body("new"))
    sent = content(after)

    assert (tmp_path / "s.unreadable").exists()
    lost = balance(after).dropped["spool_damaged"]
    assert f"{50 - lost} of its spans could be read, {lost} are lost" in caplog.text
    assert sent[-1] == "new"
    assert len(sent) == 50 - lost + 1
    assert 10 < len(sent) < 50
    assert set(sent[:-1]) <= {str(number) for number in range(50)}
    assert balance(after).unaccounted == -1  # "new" never ended
    after.close()


def test_a_file_that_is_damaged_while_it_is_open_costs_no_more_than_the_damage(tmp_path, caplog):
    buffer = spool(tmp_path / "s")
    for number in range(50):
        buffer.put(body(number, padding=3000), moved=buffer._ledger.ended)
    buffer._file._db.execute("PRAGMA wal_checkpoint(FULL)")
    buffer._file._db.execute("PRAGMA shrink_memory")
    damage(tmp_path / "s")
    buffer.put(body("new"), moved=buffer._ledger.ended)
    sent = content_counted(buffer)

    after = balance(buffer)
    assert sent[-1] == "new"
    assert after.buffered == len(sent)
    assert after.dropped == {"spool_damaged": 51 - len(sent)}
    assert after.unaccounted == 0
    assert 10 < len(sent) < 51
    buffer.close()


def content_counted(buffer):
    """As `content`, with a ledger that knows who holds the batches meanwhile."""
    held = []
    buffer._ledger.watch(lambda: sum(batch.body.spans for batch in held))
    batches = buffer.take(MANY, MANY, moved=held.extend)
    found = names(batch.body for batch in batches)
    with buffer._ledger.lock:
        held.clear()
        buffer.give_back(batches)
    return found


@pytest.mark.parametrize(
    "garbage",
    [
        "UPDATE batches SET body = x'ffffffff' WHERE id = 2",
        "UPDATE batches SET body = 'a text' WHERE id = 2",
        "UPDATE batches SET body = x'' WHERE id = 2",
        "UPDATE batches SET spans = 'many', body = 'a text' WHERE id = 2",
        "UPDATE batches SET spans = 2 WHERE id = 2",
    ],
)
def test_a_garbage_row_is_dropped_and_counted(tmp_path, garbage):
    left(tmp_path / "s", 3, padding=0)
    change(tmp_path / "s", garbage)
    after = spool(tmp_path / "s")
    ended = sum(after.recover())

    assert content_counted(after) == ["0", "2"]
    found = balance(after)
    assert (found.ended, found.buffered, found.unaccounted) == (ended, 2, 0)
    assert found.dropped == {"spool_damaged": ended - 2}
    after.put(body(4), moved=after._ledger.ended)
    after.close()
    assert rows(tmp_path / "s") == 3


@pytest.mark.parametrize("garbage", ["'many'", "-7", "1000000000000", "2.5"])
def test_a_garbage_count_costs_nothing(tmp_path, garbage):
    left(tmp_path / "s", 3, padding=0)
    change(tmp_path / "s", f"UPDATE batches SET spans = {garbage} WHERE id = 2")
    after = spool(tmp_path / "s")

    assert sum(after.recover()) == 3
    assert content_counted(after) == ["0", "1", "2"]
    assert (balance(after).dropped, balance(after).unaccounted) == ({}, 0)
    after.close()


def test_a_garbage_row_of_another_process_is_dropped_and_counted(tmp_path):
    one, two = spool(tmp_path / "s"), spool(tmp_path / "s")
    for number in range(3):
        two.put(body(number))
    one.close()
    two.close()
    change(tmp_path / "s.1", "UPDATE batches SET body = x'ffffffff' WHERE id = 2")
    after = spool(tmp_path / "s")

    assert sum(after.recover()) == 3
    assert content_counted(after) == ["0", "2"]
    assert balance(after).dropped == {"spool_damaged": 1}
    assert balance(after).unaccounted == 0
    assert not (tmp_path / "s.1").exists()
    after.close()


def test_rows_that_are_gone_are_counted(tmp_path):
    buffer = spool(tmp_path / "s")
    for number in range(3):
        buffer.put(body(number), moved=buffer._ledger.ended)
    buffer._file._db.execute("DELETE FROM batches WHERE id = 2")

    assert content_counted(buffer) == ["0", "2"]
    assert balance(buffer).dropped == {"spool_damaged": 1}
    assert balance(buffer).unaccounted == 0
    buffer.close()


def test_a_schema_of_somebody_else_is_moved_aside(tmp_path):
    change(tmp_path / "s", "CREATE TABLE batches (id INTEGER PRIMARY KEY, spans TEXT)")
    buffer = spool(tmp_path / "s")
    buffer.put(body(1))

    assert content(buffer) == ["1"]
    buffer.close()


def test_a_deleted_directory_costs_nothing(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    buffer = spool(folder / "s")
    buffer.put(body(1), moved=buffer._ledger.ended)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    buffer.put(body(2), moved=buffer._ledger.ended)
    assert content_counted(buffer) == ["1", "2"]
    assert buffer.kept() == 0

    folder.mkdir()
    buffer.put(body(3), moved=buffer._ledger.ended)
    assert buffer.kept() == 3
    assert content_counted(buffer) == ["1", "2", "3"]
    assert balance(buffer).unaccounted == 0
    buffer.close()


# -- whose spans they are ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other", [Destination("pk-lf-other", MINE.base_url), Destination(MINE.public_key, "http://else")]
)
def test_spans_of_another_project_or_address_are_left_to_it(tmp_path, other, caplog):
    one, two = spool(tmp_path / "s", other), spool(tmp_path / "s", other)
    one.put(body("one"))
    two.put(body("two"))
    one.close()
    two.close()
    mine = spool(tmp_path / "s")
    assert sum(mine.recover()) == 0
    mine.put(body("mine"))
    assert content(mine) == ["mine"]
    assert "1 spans of another project" in caplog.text
    mine.close()
    theirs = spool(tmp_path / "s", other)

    assert sum(theirs.recover()) == 2
    assert sorted(content(theirs)) == ["one", "two"]
    theirs.close()
    again = spool(tmp_path / "s")
    assert sum(again.recover()) == 1
    assert content(again) == ["mine"]
    again.close()


def of_version_0_1(path, *public_keys):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    db = sqlite3.connect(path, isolation_level=None)
    db.execute(
        "CREATE TABLE batches (id INTEGER PRIMARY KEY, spans INTEGER NOT NULL, "
        "bytes INTEGER NOT NULL, body BLOB NOT NULL)"
    )
    for public_key in public_keys:
        request = ExportTraceServiceRequest()
        scope = request.resource_spans.add().scope_spans.add()
        scope.spans.add(name=public_key)
        attribute = scope.scope.attributes.add(key="public_key")
        attribute.value.string_value = public_key
        data = request.SerializeToString()
        db.execute("INSERT INTO batches (spans, bytes, body) VALUES (1, ?, ?)", (len(data), data))
    db.close()


def test_a_file_of_version_0_1_belongs_to_the_project_that_its_spans_name(tmp_path):
    of_version_0_1(tmp_path / "mine", MINE.public_key, MINE.public_key)
    mine = spool(tmp_path / "mine")
    assert sum(mine.recover()) == 2
    assert content(mine) == [MINE.public_key] * 2
    mine.close()

    of_version_0_1(tmp_path / "theirs", "pk-lf-other")
    theirs = spool(tmp_path / "theirs")
    assert sum(theirs.recover()) == 0
    theirs.close()
    assert rows(tmp_path / "theirs") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_nobody_else_may_read_any_of_the_files(tmp_path):
    for name in ("s", "s.lock"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    before = os.umask(0)
    try:
        buffer = spool(tmp_path / "s")
        buffer.put(body(1))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    buffer.close()

    assert modes == dict.fromkeys(("s", "s-wal", "s.lock"), 0o600)


# -- limits ----------------------------------------------------------------------------------------------------


def test_taking_over_respects_the_limits_and_goes_on_when_there_is_room(tmp_path):
    spools = [spool(tmp_path / "s") for _ in range(3)]
    for number, one in enumerate(spools):
        for part in range(4):
            one.put(body(f"{number}-{part}"))
    for one in spools:
        one.close()
    late = spool(tmp_path / "s", max_spans=6)

    assert sum(late.recover()) == 6
    assert late.counts()[0] == 6
    assert late.more_to_recover
    assert balance(late).dropped == {}
    sent = []
    while batches := late.take(MANY, MANY):
        sent += names(batch.body for batch in batches)
        late.remove(batches)
        list(late.recover())
    assert sorted(sent) == [f"{number}-{part}" for number in range(3) for part in range(4)]
    assert not late.more_to_recover
    late.close()


def test_a_lower_limit_drops_the_oldest_of_the_own_file(tmp_path):
    left(tmp_path / "s", 10, padding=0)
    after = spool(tmp_path / "s", max_spans=4)

    assert sum(after.recover()) == 10
    assert content(after) == ["6", "7", "8", "9"]
    assert balance(after).dropped == {"buffer_full": 6}
    after.close()
    assert rows(tmp_path / "s") == 4


# -- a full disk -------------------------------------------------------------------------------------------------

FULL = """
    import json, logging, resource, sys
    from pathlib import Path
    sys.path.insert(0, {root!r})
    from tests.tracing.delivery.test_spool import *
    spool_module.RETRY_AFTER = 0.0
    logging.disable(logging.CRITICAL)
    path = Path({path!r})

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
"""
UNLIMITED = "limit(resource.RLIM_INFINITY)"


def on_a_full_disk(tmp_path, code):
    script = textwrap.dedent(FULL.format(root=str(ROOT), path=str(tmp_path / "s"))) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_disk_that_is_full_at_the_start(tmp_path):
    answer = on_a_full_disk(tmp_path, f"""
        limit(0)
        buffer = spool(path)
        list(buffer.recover())
        for number in range(3):
            buffer.put(body(number), moved=buffer._ledger.ended)
        full = [content_counted(buffer), buffer.kept(), balance(buffer).unaccounted]
        {UNLIMITED}
        buffer.put(body(3), moved=buffer._ledger.ended)
        print(json.dumps([*full, buffer.kept(), content_counted(buffer), balance(buffer).unaccounted]))
        buffer.close()
    """)  # fmt: skip
    assert answer == [["0", "1", "2"], 0, 0, 4, ["0", "1", "2", "3"], 0]
    after = spool(tmp_path / "s")
    assert sum(after.recover()) == 4
    after.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_disk_that_is_full_later_is_left_by_sending_without_a_restart(tmp_path):
    """There is no room for a removal either: what was sent is not sent again, and the file gives its space back."""
    answer = on_a_full_disk(tmp_path, """
        buffer = spool(path)
        for number in range(20):
            buffer.put(body(number, padding=20_000), moved=buffer._ledger.ended)
        limit(1000)
        for number in range(20, 30):
            buffer.put(body(number, padding=20_000), moved=buffer._ledger.ended)
        stored, held = buffer.kept(), balance(buffer)
        sent = []
        for _ in range(29):
            batches = buffer.take(1, MANY)
            sent += names(batch.body for batch in batches)
            buffer.remove(batches)
            buffer._ledger.exported(1)
        size = path.stat().st_size if path.exists() else 0
        rest = content_counted(buffer)
        limit(resource.RLIM_INFINITY)
        buffer.put(body(30), moved=buffer._ledger.ended)
        print(json.dumps([stored, held.buffered, held.unaccounted, sent, size < 100_000, rest, buffer.kept(),
                          content_counted(buffer), balance(buffer).unaccounted, balance(buffer).dropped]))
        buffer.close()
    """)  # fmt: skip
    assert answer == [20, 30, 0, [str(n) for n in range(29)], True, ["29"], 2, ["29", "30"], 0, {}]
    after = spool(tmp_path / "s")
    assert sum(after.recover()) == 2
    assert content(after) == ["29", "30"]
    after.close()


def test_a_batch_that_makes_room_on_a_disk_that_fails_goes_and_no_other(tmp_path, monkeypatch):
    buffer = spool(tmp_path / "s", max_spans=2)
    for number in range(2):
        buffer.put(body(number), moved=buffer._ledger.ended)
    buffer._file._db.execute("PRAGMA max_page_count = 1")
    buffer.put(body(2, padding=100_000), moved=buffer._ledger.ended)

    assert content_counted(buffer) == ["1", "2"]
    assert balance(buffer).dropped == {"buffer_full": 1}
    buffer._file._db.execute("PRAGMA max_page_count = 1000000")
    assert buffer.kept() == 2
    assert balance(buffer).unaccounted == 0
    buffer.close()
    assert rows(tmp_path / "s") == 2


@pytest.fixture
def _impatient(monkeypatch):
    monkeypatch.setattr("pytest_langfuse.tracing.delivery.spool_files.BUSY", 0.05)


@pytest.mark.usefixtures("_impatient")
def test_a_file_that_somebody_has_open_at_the_start_is_left_for_now(tmp_path):
    left(tmp_path / "s", 2, padding=0)
    reader = sqlite3.connect(tmp_path / "s")
    reader.execute("SELECT * FROM batches").fetchall()
    buffer = spool(tmp_path / "s")
    assert sum(buffer.recover()) == 0
    buffer.put(body("new"), moved=buffer._ledger.ended)
    assert buffer.kept() == 1
    reader.close()

    assert sum(buffer.recover()) == 2
    assert content_counted(buffer) == ["new", "0", "1"]
    assert balance(buffer).unaccounted == 0
    buffer.close()


@pytest.mark.usefixtures("_impatient")
def test_a_file_that_somebody_opens_during_a_fork_is_used_again_later(tmp_path):
    buffer = spool(tmp_path / "s")
    buffer.put(body(1), moved=buffer._ledger.ended)
    buffer.before_fork()
    reader = sqlite3.connect(tmp_path / "s", isolation_level=None)
    reader.execute("SELECT * FROM batches").fetchall()
    buffer.after_fork_in_parent()
    buffer.put(body(2), moved=buffer._ledger.ended)
    with pytest.raises(BufferFailed, match="locked"):
        buffer.take(MANY, MANY)
    assert (balance(buffer).buffered, balance(buffer).unaccounted) == (2, 0)
    reader.close()

    assert buffer.kept() == 2
    assert content_counted(buffer) == ["1", "2"]
    assert (balance(buffer).dropped, balance(buffer).unaccounted) == ({}, 0)
    buffer.close()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_the_directory_is_gone(tmp_path):
    script = textwrap.dedent(f"""
        import json, logging, os, shutil, sys
        sys.path.insert(0, {str(ROOT)!r})
        from tests.tracing.delivery.test_spool import *
        from pathlib import Path
        logging.disable(logging.CRITICAL)
        folder = Path({str(tmp_path / "f")!r})
        folder.mkdir()
        mine = spool(folder / "s")
        mine.put(body("parent-1"), moved=mine._ledger.ended)
        shutil.rmtree(folder)
        mine.before_fork()
        read, write = os.pipe()
        if os.fork() == 0:
            mine._ledger.after_fork()
            mine.after_fork()
            list(mine.recover())
            mine.put(body("child"), moved=mine._ledger.ended)
            answer = [content_counted(mine), balance(mine).unaccounted, mine.kept()]
            mine.close()
            os.write(write, json.dumps(answer).encode())
            os._exit(0)
        mine.after_fork_in_parent()
        os.wait()
        mine.put(body("parent-2"), moved=mine._ledger.ended)
        sent = content_counted(mine)
        print(json.dumps([json.loads(os.read(read, 1000)), sent, balance(mine).dropped, balance(mine).unaccounted]))
        mine.close()
    """)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    child, sent, dropped, unaccounted = json.loads(done.stdout)
    assert child == [["child"], 0, 0]
    assert (sent, dropped, unaccounted) == (["parent-1", "parent-2"], {}, 0)


def test_a_read_that_fails_for_now_costs_nothing(tmp_path, monkeypatch):
    buffer = spool(tmp_path / "s")
    for number in range(3):
        buffer.put(body(number), moved=buffer._ledger.ended)
    read = SpoolFile.body

    def fails(file, key):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(SpoolFile, "body", fails)
    with pytest.raises(BufferFailed, match="disk I/O error"):
        buffer.take(MANY, MANY)
    assert (balance(buffer).buffered, balance(buffer).unaccounted) == (3, 0)
    monkeypatch.setattr(SpoolFile, "body", read)

    assert content_counted(buffer) == ["0", "1", "2"]
    assert balance(buffer).dropped == {}
    buffer.close()


def test_a_full_disk_never_costs_rows_of_another_project(tmp_path):
    """What was sent can't be removed: the file would be deleted if nobody else had rows in it."""
    buffer = spool(tmp_path / "s")
    buffer.put(body(1), moved=buffer._ledger.ended)
    buffer._file._db.execute("INSERT INTO batches VALUES (99, 1, 1, x'00', 'pk-lf-other', 'http://else')")
    buffer._file._db.execute("CREATE TRIGGER fails BEFORE DELETE ON batches BEGIN SELECT RAISE(ABORT, 'full'); END")
    (batch,) = buffer.take(MANY, MANY)
    buffer.remove([batch])
    buffer.close()

    assert rows(tmp_path / "s") == 2


# -- somebody removes, replaces or cuts a file while processes live ----------------------------------------------------

NEIGHBOUR = """
    import json, logging, sys
    from pathlib import Path
    sys.path.insert(0, {root!r})
    from tests.tracing.delivery.test_spool import *
    from pytest_langfuse.tracing.delivery import spool_files
    logging.disable(logging.CRITICAL)
    spool_files.BUSY = 0.05
    print("ready", flush=True)
    for line in sys.stdin:
        if line.startswith("start"):
            try:
                buffer = spool(Path(line[6:-1]))
            except BufferFailed as error:
                print(json.dumps([None, []]), flush=True)
                buffer = None
                continue
            list(buffer.recover())
            answer = [str(buffer._path), content_counted(buffer)]
            buffer.put(body("neighbour"), moved=buffer._ledger.ended)
        elif buffer is None:
            answer = [[], dict(), 0]
        else:
            answer = [content_counted(buffer), balance(buffer).dropped, balance(buffer).unaccounted]
            buffer.close()
        print(json.dumps(answer), flush=True)
"""


class Neighbour:
    """Another process, which uses the same `spool_path`."""

    def __init__(self, process):
        self._process = process

    def ask(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture(scope="module")
def neighbour():
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(NEIGHBOUR.format(root=str(ROOT)))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield Neighbour(process)
        process.stdin.close()


def replaced(path, make):
    make(path.with_name("other"))
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
    path.with_name("other").rename(path)


def cut(path, share):
    os.truncate(path, int(path.stat().st_size * share))


def made_again(folder):
    shutil.rmtree(folder)
    folder.mkdir()


DISTURBANCES = {
    "nothing": lambda folder: None,
    "the lock is removed": lambda folder: (folder / "s.lock").unlink(),
    "the lock is replaced": lambda folder: replaced(folder / "s.lock", Path.touch),
    "the lock is a directory": lambda folder: replaced(folder / "s.lock", Path.mkdir),
    "the file is removed": lambda folder: (folder / "s").unlink(),
    "the file and its lock are removed": lambda folder: [(folder / name).unlink() for name in ("s", "s.lock")],
    "the file is an empty one": lambda folder: replaced(folder / "s", Path.touch),
    "the file is another one": lambda folder: replaced(folder / "s", lambda path: path.write_bytes(b"x" * 5000)),
    "the file is a spool again": lambda folder: replaced(folder / "s", lambda path: left(path, 0)),
    "the file is a directory": lambda folder: replaced(folder / "s", Path.mkdir),
    "the file is cut to nothing": lambda folder: cut(folder / "s", 0),
    "the file is cut to half": lambda folder: cut(folder / "s", 0.5),
    "the log is removed": lambda folder: (folder / "s-wal").unlink(),
    "the log and the lock are removed": lambda folder: [(folder / name).unlink() for name in ("s-wal", "s.lock")],
    "the log is an empty one": lambda folder: replaced(folder / "s-wal", Path.touch),
    "the log is a directory": lambda folder: replaced(folder / "s-wal", Path.mkdir),
    "the log is cut to nothing": lambda folder: cut(folder / "s-wal", 0),
    "the log is cut to half": lambda folder: cut(folder / "s-wal", 0.5),
    "all files are removed": lambda folder: [file.unlink() for file in folder.iterdir()],
    "all files are cut to nothing": lambda folder: [cut(file, 0) for file in folder.iterdir()],
    "the directory is made again": made_again,
    "the directory is moved": lambda folder: (folder.rename(folder.with_name("moved")), folder.mkdir()),
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps files that are open")
@pytest.mark.parametrize("checkpoint", [True, False], ids=["in the file", "in the log"])
@pytest.mark.parametrize("what", DISTURBANCES)
def test_two_processes_never_own_the_same_rows(tmp_path, neighbour, what, checkpoint):
    folder = tmp_path / "folder"
    folder.mkdir()
    mine = spool(folder / "s")
    for number in range(10):
        mine.put(body(number, padding=2000), moved=mine._ledger.ended)
    if checkpoint:
        mine._file._db.execute("PRAGMA wal_checkpoint(FULL)")
    mine._file._db.execute("PRAGMA shrink_memory")
    under_way = []
    mine._ledger.watch(lambda: sum(batch.body.spans for batch in under_way))
    mine.take(2, MANY, moved=under_way.extend)
    DISTURBANCES[what](folder)
    theirs, stolen = neighbour.ask(f"start {folder / 's'}")
    assert stolen == []
    with mine._ledger.lock:
        mine.give_back(under_way)
        under_way.clear()

    sent = content_counted(mine)
    after = balance(mine)
    assert after.unaccounted == 0
    assert after.ended == 10
    assert len(sent) == 10 - after.dropped.get("spool_damaged", 0)
    if "cut" not in what:
        assert (sent, after.dropped) == ([str(number) for number in range(10)], {})
    # It goes on, in a file that nobody else has.
    mine.put(body("more"), moved=mine._ledger.ended)
    assert mine.kept() == len(sent) + 1
    assert str(mine._path) != theirs
    assert content_counted(mine) == [*sent, "more"]
    # A path that can't be used is a mistake in a setting for a process that starts.
    kept, *account = neighbour.ask("end")
    assert (kept, account) == ([] if theirs is None else ["neighbour"], [{}, 0])
    assert balance(mine).unaccounted == 0
    mine.close()
    for name in ("s.lock", "s", "s-wal"):
        if (folder / name).is_dir():
            (folder / name).rmdir()
    fresh = spool(folder / "s")
    while fresh.more_to_recover:
        sum(fresh.recover())
    assert sorted(content_counted(fresh)) == sorted([*sent, "more", *kept])
    assert (balance(fresh).dropped, balance(fresh).unaccounted) == ({}, 0)
    fresh.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps files that are open")
def test_a_file_whose_lock_is_gone_is_not_taken_over_while_its_process_lives(tmp_path, neighbour):
    first, mine = spool(tmp_path / "s"), spool(tmp_path / "s")
    first.close()
    mine.put(body("mine"), moved=mine._ledger.ended)
    (tmp_path / "s.1.lock").unlink()

    assert neighbour.ask(f"start {tmp_path / 's'}") == [str(tmp_path / "s"), []]
    assert neighbour.ask("end") == [["neighbour"], {}, 0]
    assert mine.kept() == 1
    assert (tmp_path / "s.1.lock").exists()
    mine.close()


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps files that are open")
def test_a_lock_that_is_removed_during_a_fork(tmp_path, neighbour, taken):
    """The file is closed then: whoever starts in that moment has its spans, and counts them."""
    mine = spool(tmp_path / "s")
    for number in range(3):
        mine.put(body(number), moved=mine._ledger.ended)
    under_way = []
    mine._ledger.watch(lambda: sum(batch.body.spans for batch in under_way))
    mine.take(1, MANY, moved=under_way.extend)
    mine.before_fork()
    (tmp_path / "s.lock").unlink()
    if taken:
        assert neighbour.ask(f"start {tmp_path / 's'}") == [str(tmp_path / "s"), ["0", "1", "2"]]
    mine.after_fork_in_parent()
    mine.put(body("more"), moved=mine._ledger.ended)
    with mine._ledger.lock:
        mine.give_back(under_way)
        under_way.clear()

    # What was under way is sent by both.
    expected = ["0", "more"] if taken else ["0", "1", "2", "more"]
    assert content_counted(mine) == expected
    assert mine.kept() == len(expected)
    after = balance(mine)
    assert (after.ended, after.buffered, after.dropped, after.unaccounted) == (len(expected), len(expected), {}, 0)
    if taken:
        assert neighbour.ask("end") == [["0", "1", "2", "neighbour"], {}, 0]
    mine.close()


def test_files_in_use_stay_young(tmp_path, monkeypatch):
    buffer = spool(tmp_path / "s")
    buffer.put(body(1), moved=buffer._ledger.ended)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["s", "s-wal", "s.lock"]

    def age():
        for file in files:
            os.utime(file, (0, 0))
        assert content_counted(buffer) == ["1"]
        return [file.name for file in files if file.stat().st_mtime == 0]

    assert age() == ["s", "s-wal", "s.lock"]
    monkeypatch.setattr(spool_module, "TOUCH_EVERY", 0.0)
    buffer._touch_at = 0.0
    assert age() == []
    buffer.close()


def test_a_file_that_was_read_only_for_a_while_is_written_again(tmp_path):
    """SQLite's connection stays read-only until the file is opened again."""
    buffer = spool(tmp_path / "s")
    buffer.put(body(1), moved=buffer._ledger.ended)
    buffer._file._db.execute("PRAGMA query_only = 1")
    buffer.put(body(2), moved=buffer._ledger.ended)
    assert content_counted(buffer) == ["1", "2"]

    assert buffer.kept() == 2
    assert (balance(buffer).dropped, balance(buffer).unaccounted) == ({}, 0)
    buffer.close()
