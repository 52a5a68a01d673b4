"""A spool that was damaged while no process used it: all that can be read goes on, and the rest is counted."""

import random
import shutil

import pytest

from pytest_langfuse.tracing.delivery.file_lock import FileLock
from tests.tracing.delivery.test_buffer import MANY, body
from tests.tracing.delivery.test_spool import (
    MINE,
    balance,
    change,
    content_counted,
    cut,
    of_version_0_1,
    spool,
)

PAGE = 4096
#: Two spans a row, several rows a page: damage to one page costs several rows.
ROWS, SPANS = 60, 120


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A spool as a process has left it at its end."""
    folder = tmp_path_factory.mktemp("made")
    buffer = spool(folder / "s")
    for number in range(ROWS):
        buffer.put(body(f"{number}a", f"{number}b", padding=400))
    buffer.close()
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A spool as SIGKILL leaves it: half of it is in the log only, and some was sent."""
    folder = tmp_path_factory.mktemp("killed")
    buffer = spool(folder / "s")
    for number in range(ROWS + 10):
        buffer.put(body(f"{number}a", f"{number}b", padding=400))
        if number == ROWS // 2:
            buffer._file._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            buffer._file._seen = buffer._file._look()
        if number % 7 == 6:
            buffer.remove(buffer.take(1, MANY))
    for name in ("s", "s-wal", "s.lock"):
        shutil.copy(folder / name, folder / f"copy-of-{name}")
    buffer.close()
    for name in ("s", "s-wal", "s.lock"):
        (folder / f"copy-of-{name}").rename(folder / name)
    return folder


def account(folder):
    """Start with the spool of a folder; return what was read and what is lost."""
    after = spool(folder / "s")
    ended = sum(after.recover())
    sent = content_counted(after)
    found = balance(after)
    assert (found.ended, found.buffered, found.unaccounted) == (ended, len(sent), 0)
    lost = found.dropped.pop("spool_damaged", 0)
    assert found.dropped == {}
    # It goes on, and counts nothing twice.
    after.put(body("new"), moved=after._ledger.ended)
    assert after.kept() == len(sent) + 1
    uncounted = after.damage
    after.close()
    again = spool(folder / "s")
    sum(again.recover())
    assert content_counted(again) == [*sent, "new"]
    assert (balance(again).dropped, again.damage) == ({}, None)
    again.close()
    return len(sent), lost, uncounted


def overwrite(path, page, count=1):
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(b"\xa5" * PAGE * count)


def flip(path, seed, first=0):
    """Flip 40 bytes, but not those that say whose a row is: another project's rows are left where they are."""
    rng = random.Random(seed)
    before = path.read_bytes()
    data = bytearray(before)
    for _ in range(40):
        data[rng.randrange(first, len(data))] = rng.randrange(256)
    whose = "".join(MINE).encode()
    at = before.find(whose)
    while at >= 0:
        data[at : at + len(whose)] = whose
        at = before.find(whose, at + 1)
    path.write_bytes(data)


def test_nothing_is_lost_without_damage(made, killed, tmp_path):
    for number, folder in enumerate((made, killed)):
        shutil.copytree(folder, tmp_path / str(number))
        assert account(tmp_path / str(number)) == (SPANS, 0, None)


def test_every_page_may_be_damaged(made, tmp_path):
    """Not only leaves of the table: also its root, the schema, and the page that has the totals."""
    pages = (made / "s").stat().st_size // PAGE
    assert pages > 15
    worst = SPANS
    for page in range(pages):
        folder = tmp_path / str(page)
        shutil.copytree(made, folder)
        overwrite(folder / "s", page)
        read, lost, uncounted = account(folder)
        assert (page, read + lost, uncounted) == (page, SPANS, None)
        # Nothing leads to the rows without the first page, which has the schema, and the table's root.
        worst = min(worst, read) if page > 1 else worst
    assert worst > SPANS * 0.85


def test_rows_between_two_damaged_pages_are_read(made, tmp_path):
    shutil.copytree(made, tmp_path / "f")
    for page in (4, (made / "s").stat().st_size // PAGE - 3):
        overwrite(tmp_path / "f" / "s", page)
    read, lost, uncounted = account(tmp_path / "f")

    assert (read + lost, uncounted) == (SPANS, None)
    assert SPANS * 0.7 < read < SPANS


@pytest.mark.parametrize("share", [0, 0.02, 0.1, 0.5, 0.9])
def test_a_file_that_was_cut(made, tmp_path, share):
    shutil.copytree(made, tmp_path / "f")
    cut(tmp_path / "f" / "s", share)
    read, lost, uncounted = account(tmp_path / "f")

    assert (read + lost, uncounted) == (SPANS, None)
    assert read >= SPANS * (share - 0.15)


@pytest.mark.parametrize("seed", [0, 23, 197, 363])
def test_40_bytes_that_were_flipped(made, tmp_path, seed):
    shutil.copytree(made, tmp_path / "f")
    flip(tmp_path / "f" / "s", seed, first=2 * PAGE)
    read, lost, uncounted = account(tmp_path / "f")

    assert (read + lost, uncounted) == (SPANS, None)
    assert read > 0


@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.99])
def test_a_log_that_was_cut(killed, tmp_path, share):
    """SQLite takes a shorter log for a shorter history; the totals beside the file know better."""
    shutil.copytree(killed, tmp_path / "f")
    cut(tmp_path / "f" / "s-wal", share)
    read, lost, uncounted = account(tmp_path / "f")

    # What was sent may be back: its removal was in the log.
    assert (read + lost, uncounted) == (max(SPANS, read), None)
    assert read <= SPANS + 2
    assert lost > 0 or share == 0.99


@pytest.mark.parametrize("names", [["s"], ["s", "s-wal"], ["s-wal"]])
def test_files_that_were_removed(killed, tmp_path, names):
    shutil.copytree(killed, tmp_path / "f")
    for name in names:
        (tmp_path / "f" / name).unlink()
    read, lost, uncounted = account(tmp_path / "f")

    assert (read + lost, uncounted) == (SPANS, None)
    assert (read > 0) == ("s" not in names)


def test_without_a_lock_file_the_file_itself_knows_its_number(made, tmp_path):
    shutil.copytree(made, tmp_path / "f")
    (tmp_path / "f" / "s.lock").unlink()
    overwrite(tmp_path / "f" / "s", 10, count=2)
    read, lost, uncounted = account(tmp_path / "f")

    assert (read + lost, uncounted) == (SPANS, None)
    assert 0 < lost < SPANS * 0.3


def test_a_number_that_nobody_knows_is_said(made, tmp_path, caplog):
    shutil.copytree(made, tmp_path / "f")
    (tmp_path / "f" / "s.lock").unlink()
    overwrite(tmp_path / "f" / "s", 0, count=4)
    read, lost, uncounted = account(tmp_path / "f")

    assert (read, lost) == (0, 0)
    assert uncounted.startswith(f"an unknown number of spans of the spool {tmp_path / 'f' / 's'} is lost")
    assert "0 of its spans could be read, an unknown number is lost." in caplog.text


def test_a_note_that_was_not_written_costs_and_invents_nothing(made, tmp_path, monkeypatch):
    """A crash between a change of the file and the note of its totals; or a process of an earlier version."""
    shutil.copytree(made, tmp_path / "f")
    buffer = spool(tmp_path / "f" / "s")
    sum(buffer.recover())
    monkeypatch.setattr(FileLock, "note", lambda lock, text: None)
    buffer.remove(buffer.take(20, MANY))
    buffer.put(body("more"))
    buffer.close()
    monkeypatch.undo()

    assert account(tmp_path / "f") == (SPANS - 20 + 1, 0, None)


def test_a_damaged_file_of_another_process_is_counted_too(made, tmp_path):
    shutil.copytree(made, tmp_path / "f")
    for name in ("s", "s.lock"):
        (tmp_path / "f" / name).rename(tmp_path / "f" / name.replace("s", "s.1", 1))
    overwrite(tmp_path / "f" / "s.1", 10, count=2)
    read, lost, uncounted = account(tmp_path / "f")

    assert (read + lost, uncounted) == (SPANS, None)
    assert 0 < lost < SPANS * 0.3


def test_a_file_of_version_0_1_is_counted_from_its_first_use_on(tmp_path):
    of_version_0_1(tmp_path / "s", *["pk-lf-mine"] * 200)
    buffer = spool(tmp_path / "s")
    assert sum(buffer.recover()) == 200
    buffer.close()
    overwrite(tmp_path / "s", (tmp_path / "s").stat().st_size // PAGE - 1)
    read, lost, uncounted = account(tmp_path)

    assert (read + lost, uncounted) == (200, None)


def test_a_damaged_file_of_version_0_1_is_read_as_far_as_possible(tmp_path):
    of_version_0_1(tmp_path / "s", *["pk-lf-mine"] * 200, "pk-lf-other")
    cut(tmp_path / "s", 0.7)
    read, lost, uncounted = account(tmp_path)

    assert 50 < read < 200
    assert (lost, "unknown number" in uncounted) == (0, True)


def test_rows_of_another_project_in_a_damaged_file_are_not_sent_and_not_counted_as_lost(made, tmp_path):
    shutil.copytree(made, tmp_path / "f")
    change(tmp_path / "f" / "s", "UPDATE batches SET public_key = 'pk-lf-other' WHERE id <= 10")
    overwrite(tmp_path / "f" / "s", 12, count=2)
    read, lost, _ = account(tmp_path / "f")

    assert read + lost == SPANS - 20


def test_files_that_a_process_has_removed_itself_are_not_missed(tmp_path):
    one, two = spool(tmp_path / "s"), spool(tmp_path / "s")
    for buffer in (one, two):
        for number in range(5):
            buffer.put(body(number))
        buffer.close()
    after = spool(tmp_path / "s")
    assert sum(after.recover()) == 10
    after.close()
    assert not (tmp_path / "s.1").exists()
    both = spool(tmp_path / "s"), spool(tmp_path / "s")
    assert [sum(buffer.recover()) for buffer in both] == [10, 0]
    assert [balance(buffer).dropped for buffer in both] == [{}, {}]
    for buffer in both:
        buffer.close()
