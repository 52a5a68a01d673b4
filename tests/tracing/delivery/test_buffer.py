"""Where spans wait: in memory and in a file, by the same rules."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_langfuse.tracing.delivery.buffer import MemoryBuffer
from pytest_langfuse.tracing.delivery.export_body import ExportBody
from pytest_langfuse.tracing.delivery.file_lock import FileLock
from pytest_langfuse.tracing.delivery.spool import Spool
from tests.helpers.paths import ROOT

MANY = 1 << 40


def body(*names, padding=0):
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for name in names:
        scope.spans.add(name=str(name), trace_state="x" * padding)
    return ExportBody(request.SerializeToString(), len(names))


def names(bodies):
    data = b"".join(one.data for one in bodies)
    request = ExportTraceServiceRequest.FromString(data)
    return [span.name for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]


def content(buffer):
    batches = buffer.take(MANY, MANY)
    found = names(batch.body for batch in batches)
    buffer.give_back(batches)
    return found


@pytest.fixture(params=["memory", "spool"])
def make(request, tmp_path):
    made = []

    def build(max_spans=1000, max_bytes=MANY):
        if request.param == "memory":
            made.append(MemoryBuffer(max_spans=max_spans, max_bytes=max_bytes))
        else:
            made.append(Spool(tmp_path / "spool", max_spans=max_spans, max_bytes=max_bytes))
        return made[-1]

    yield build
    for buffer in made:
        buffer.close()


def test_what_is_put_is_taken_in_order_and_once(make):
    buffer = make()
    for number in range(5):
        assert buffer.put(body(number)) == 0
    first = buffer.take(2, MANY)
    second = buffer.take(MANY, MANY)

    assert names(batch.body for batch in first) == ["0", "1"]
    assert names(batch.body for batch in second) == ["2", "3", "4"]
    assert buffer.take(MANY, MANY) == []
    assert buffer.counts()[0] == 5
    buffer.remove(first)
    assert buffer.counts()[0] == 3
    buffer.give_back(second)
    assert content(buffer) == ["2", "3", "4"]


def test_no_more_is_taken_than_asked_for_but_at_least_one(make):
    buffer = make()
    big = body(*range(10), padding=100)
    buffer.put(big)
    buffer.put(big)

    (batch,) = buffer.take(3, MANY)
    buffer.give_back([batch])
    (batch,) = buffer.take(MANY, len(big.data))
    assert batch.body == big


def test_one_that_is_to_be_alone_is_alone(make):
    buffer = make()
    for number in range(4):
        buffer.put(body(number))
    batches = buffer.take(MANY, MANY)
    batches[1].alone = True
    buffer.give_back(batches)

    taken = [names(batch.body for batch in buffer.take(MANY, MANY)) for _ in range(3)]
    assert taken == [["0"], ["1"], ["2", "3"]]


def test_given_back_as_the_last(make):
    buffer = make()
    for number in range(3):
        buffer.put(body(number))
    first = buffer.take(1, MANY)
    first[0].tries = 2
    buffer.give_back(first, last=True)

    batches = buffer.take(MANY, MANY)
    assert names(batch.body for batch in batches) == ["1", "2", "0"]
    assert [batch.tries for batch in batches] == [0, 0, 2]


def test_parts_take_the_place_of_a_batch(make):
    buffer = make()
    buffer.put(body(1, 2))
    buffer.put(body(3))
    (batch,) = buffer.take(2, MANY)
    buffer.replace(batch, [body(1), body(2)])

    assert buffer.counts()[0] == 3
    assert content(buffer) == ["1", "2", "3"]


def test_a_full_buffer_drops_the_oldest_and_no_more_than_needed(make):
    buffer = make(max_spans=10)
    buffer.put(body(*range(6)))
    buffer.put(body(*range(6, 10)))

    assert buffer.put(body(10, 11, 12)) == 3
    assert content(buffer) == [str(number) for number in range(3, 13)]
    assert buffer.counts()[0] == 10


def test_bytes_are_bounded_too(make):
    size = len(body(1, padding=1000).data)
    buffer = make(max_bytes=3 * size)
    dropped = sum(buffer.put(body(number % 10, padding=1000)) for number in range(10))

    assert dropped == 7
    assert content(buffer) == ["7", "8", "9"]
    assert buffer.counts() == (3, 3 * size)


def test_what_is_being_sent_is_not_dropped(make):
    buffer = make(max_spans=2)
    buffer.put(body(1, 2))
    batches = buffer.take(MANY, MANY)

    assert buffer.put(body(3)) == 1
    assert buffer.counts()[0] == 2
    buffer.remove(batches)
    assert buffer.put(body(4)) == 0


def test_more_than_the_buffer_holds_is_dropped_itself(make):
    buffer = make(max_spans=2)
    buffer.put(body(1))

    assert buffer.put(body(2, 3, 4)) == 4
    assert buffer.counts() == (0, 0)


class BufferMachine(RuleBasedStateMachine):
    """Whatever is done, in whichever order: each span is waiting, taken, removed or dropped, and counted so."""

    def build(self, max_spans):
        return MemoryBuffer(max_spans=max_spans, max_bytes=MANY)

    @initialize(max_spans=st.integers(1, 12))
    def start(self, max_spans):
        self.buffer = self.build(max_spans)
        self.max_spans = max_spans
        self.number = self.put_spans = self.dropped = self.removed = 0
        self.taken = []

    @rule(spans=st.integers(1, 6))
    def put(self, spans):
        self.dropped += self.buffer.put(body(*range(self.number, self.number + spans)))
        self.number += spans
        self.put_spans += spans

    @rule(spans=st.integers(1, 12))
    def take(self, spans):
        self.taken += self.buffer.take(spans, MANY)

    @precondition(lambda self: self.taken)
    @rule(count=st.integers(1, 3))
    def remove(self, count):
        batches, self.taken = self.taken[:count], self.taken[count:]
        self.buffer.remove(batches)
        self.removed += sum(batch.body.spans for batch in batches)

    @precondition(lambda self: self.taken)
    @rule(last=st.booleans(), alone=st.booleans())
    def give_back(self, last, alone):
        batch = self.taken.pop()
        batch.alone = alone
        self.buffer.give_back([batch], last=last)

    @invariant()
    def every_span_is_somewhere(self):
        if hasattr(self, "buffer"):
            spans, size = self.buffer.counts()
            assert spans == self.put_spans - self.dropped - self.removed
            assert spans <= self.max_spans
            assert (size > 0) == (spans > 0)

    def teardown(self):
        if hasattr(self, "buffer"):
            while batches := self.buffer.take(1, MANY):
                self.taken += batches
            found = names(batch.body for batch in self.taken)
            assert len(found) == len(set(found)) == self.buffer.counts()[0]
            self.buffer.close()


BufferMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestMemory = BufferMachine.TestCase


@pytest.fixture
def spool_machine(tmp_path):
    class SpoolMachine(BufferMachine):
        count = 0

        def build(self, max_spans):
            SpoolMachine.count += 1
            return Spool(tmp_path / f"spool-{SpoolMachine.count}", max_spans=max_spans, max_bytes=MANY)

    return SpoolMachine


@pytest.mark.slow
def test_the_same_of_the_spool(spool_machine):
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(spool_machine, settings=settings(max_examples=15, stateful_step_count=20, deadline=None))


# -- the file --------------------------------------------------------------------------------------------------


def spool(path, **limits):
    return Spool(path, **{"max_spans": 1000, "max_bytes": MANY, **limits})


def test_what_is_left_is_found_by_the_next(tmp_path):
    first = spool(tmp_path / "s")
    first.put(body(1, 2))
    first.take(MANY, MANY)
    first.close()
    second = spool(tmp_path / "s")

    assert (sum(second.recover()), content(second)) == (2, ["1", "2"])
    second.close()


def test_two_at_once_have_a_file_each_and_the_next_start_gets_both(tmp_path):
    one, two = spool(tmp_path / "s"), spool(tmp_path / "s")
    one.put(body(1))
    two.put(body(2))
    assert sum(one.recover()) == sum(two.recover()) == 0
    one.close()
    two.close()
    third = spool(tmp_path / "s")

    assert [spans for spans in third.recover() if spans] == [1, 1]
    assert sorted(content(third)) == ["1", "2"]
    third.close()


def test_what_another_process_left_is_taken_over_by_one_only(tmp_path):
    alive, dead = spool(tmp_path / "s"), spool(tmp_path / "s")
    dead.put(body(*range(5)))
    dead.close()
    late = spool(tmp_path / "s")

    assert sum(alive.recover()) + sum(late.recover()) == 5
    assert sorted(content(alive) + content(late)) == [str(number) for number in range(5)]
    alive.close()
    late.close()


def test_a_file_that_can_not_be_taken_over_is_reported_and_the_others_are(tmp_path, monkeypatch, caplog):
    spools = [spool(tmp_path / "s") for _ in range(4)]
    for number, one in enumerate(spools):
        one.put(body(number))
        one.close()
    fresh = spool(tmp_path / "s")
    exists = Path.exists

    def denied(path):
        if path.name == "s.1":
            raise PermissionError("denied")
        return exists(path)

    monkeypatch.setattr(Path, "exists", denied)

    assert sum(fresh.recover()) == 3
    assert content(fresh) == ["0", "2", "3"]
    assert "denied" in caplog.text
    fresh.close()


CHILD = """
import sys
sys.path.insert(0, {root!r})
from tests.tracing.delivery.test_buffer import body, spool
from pathlib import Path
spool = spool(Path({path!r}), max_spans=10**6)
number = 0
while True:
    spool.put(body(number, padding=500))
    number += 1
    print(number, flush=True)
"""


@pytest.mark.slow
def test_sigkill_in_the_middle_of_writing_loses_nothing_that_was_written(tmp_path):
    path = tmp_path / "s"
    script = CHILD.format(root=str(ROOT), path=str(path))
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if int(line) >= 50:
            break
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().split()
    acknowledged = int(rest[-1]) if rest else 50
    child.stdout.close()
    child.wait()
    after = spool(path, max_spans=10**6)

    assert acknowledged <= next(after.recover()) <= acknowledged + 1
    assert content(after)[:acknowledged] == [str(number) for number in range(acknowledged)]
    after.close()


def test_a_lock_goes_with_its_process(tmp_path):
    script = textwrap.dedent(f"""
        from pathlib import Path
        from pytest_langfuse.tracing.delivery.file_lock import FileLock
        lock = FileLock.acquire(Path({str(tmp_path / "lock")!r}))
        print("held" if lock else "free", flush=True)
        input()
    """)
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    assert FileLock.acquire(tmp_path / "lock") is None
    child.kill()
    child.communicate()

    lock = FileLock.acquire(tmp_path / "lock")
    assert lock is not None
    assert FileLock.acquire(tmp_path / "lock") is None
    lock.release()
    lock.release()
    FileLock.acquire(tmp_path / "lock").release()


def test_a_file_that_can_not_be_read_is_moved_aside(tmp_path, caplog):
    (tmp_path / "s").write_bytes(b"this is no database" * 100)
    fresh = spool(tmp_path / "s")
    fresh.put(body(1))

    assert content(fresh) == ["1"]
    assert (tmp_path / "s.unreadable").exists()
    assert "can't be read" in caplog.text
    fresh.close()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_parent_and_forked_child_write_to_files_of_their_own(tmp_path):
    script = textwrap.dedent(f"""
        import json, os, sys
        sys.path.insert(0, {str(ROOT)!r})
        from tests.tracing.delivery.test_buffer import body, content, spool
        from pathlib import Path
        mine = spool(Path({str(tmp_path / "s")!r}))
        mine.put(body("parent-1"))
        mine.before_fork()
        if os.fork() == 0:
            mine.after_fork()
            mine.put(body("child"))
            mine.close()
            sys.exit()
        mine.after_fork_in_parent()
        os.wait()
        mine.put(body("parent-2"))
        print(json.dumps([content(mine), sum(mine.recover()), content(mine)]))
    """)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    own, adopted, both = json.loads(done.stdout)
    assert own == ["parent-1", "parent-2"]
    assert (adopted, sorted(both)) == (1, ["child", "parent-1", "parent-2"])
