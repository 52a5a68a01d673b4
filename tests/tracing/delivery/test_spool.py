"""A spool on its worst days: a full disk, damaged files, other people's rows, and what other processes leave."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import textwrap

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
    found = sum(after.recover())
    after.put(body("new"))
    sent = content(after)

    assert (tmp_path / "s.unreadable").exists()
    assert f"{found} of its spans could be read" in caplog.text
    assert sent[-1] == "new"
    assert 10 < found < 50
    assert set(sent[:-1]) <= {str(number) for number in range(50)}
    assert balance(after).unaccounted == 1 - 2  # "new" never ended, and nobody holds what `content` has counted
    after.close()


def test_a_file_that_is_damaged_while_it_is_open_costs_no_more_than_the_damage(tmp_path, caplog):
    buffer = spool(tmp_path / "s")
    for number in range(50):
        buffer.put(body(number, padding=3000), moved=buffer._ledger.ended)
    buffer._file._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
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


def test_rows_that_somebody_else_removes_are_counted(tmp_path):
    buffer = spool(tmp_path / "s")
    for number in range(3):
        buffer.put(body(number), moved=buffer._ledger.ended)
    change(tmp_path / "s", "DELETE FROM batches WHERE id = 2")

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

    assert modes == dict.fromkeys(("s", "s-shm", "s-wal", "s.lock"), 0o600)


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


def test_somebody_reads_the_file_or_locks_it(tmp_path, monkeypatch):
    monkeypatch.setattr("pytest_langfuse.tracing.delivery.spool_files._BUSY", 0.05)
    buffer = spool(tmp_path / "s")
    buffer.put(body(1), moved=buffer._ledger.ended)
    reader = sqlite3.connect(tmp_path / "s", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM batches").fetchall()
    buffer.put(body(2), moved=buffer._ledger.ended)
    assert buffer.kept() == 2
    reader.execute("COMMIT")
    reader.execute("BEGIN EXCLUSIVE")
    buffer.put(body(3), moved=buffer._ledger.ended)
    assert buffer.kept() == 2
    assert content_counted(buffer) == ["1", "2", "3"]
    reader.execute("COMMIT")
    reader.close()

    assert buffer.kept() == 3
    assert balance(buffer).unaccounted == 0
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
    # The file was closed for the fork: what was in it went with the directory.
    assert (sent, dropped, unaccounted) == (["parent-2"], {"spool_damaged": 1}, 0)


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
    change(tmp_path / "s", "INSERT INTO batches VALUES (99, 1, 1, x'00', 'pk-lf-other', 'http://else')")
    buffer._file._db.execute("PRAGMA query_only = 1")
    (batch,) = buffer.take(MANY, MANY)
    buffer.remove([batch])
    buffer.close()

    assert rows(tmp_path / "s") == 2
