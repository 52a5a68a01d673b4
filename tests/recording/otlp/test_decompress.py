"""Bodies without their compression, and what a body that decompresses to gigabytes costs."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_langfuse import Observations
from pytest_langfuse.recording import DecodeError, decode_otlp, decode_records
from pytest_langfuse.recording.otlp import decompress as module
from pytest_langfuse.recording.otlp.decompress import decompress

LIMIT = 1_000_000


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def small_window(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=9)
    return compressor.compress(data) + compressor.flush()


@given(st.binary(max_size=300), st.sampled_from([gzip.compress, zlib.compress, raw_deflate, small_window]))
def test_what_was_compressed(data, compress):
    assert decompress(compress(data), "gzip" if compress is gzip.compress else "deflate") == data


def test_more_than_one_slice():
    # Random bytes don't shrink, so that the members end in the middle of a slice.
    parts = [random.Random(number).randbytes(100_000) for number in range(5)]
    assert decompress(b"".join(map(gzip.compress, parts))) == b"".join(parts)


def test_an_encoding_is_told_by_its_name_in_any_case():
    assert decompress(gzip.compress(b"x"), "X-GZIP") == b"x"
    assert decompress(gzip.compress(b"x"), " identity ") == gzip.compress(b"x")


@pytest.mark.parametrize("read", [decode_otlp, decode_records, Observations.from_otlp, "from_file"])
def test_a_bomb_takes_no_more_memory_than_the_limit(monkeypatch, tmp_path, read):
    monkeypatch.setattr(module, "MAX_DECODED_BYTES", LIMIT)
    bomb = gzip.compress(bytes(50 * LIMIT))
    if read == "from_file":
        path = tmp_path / "bomb.gz"
        path.write_bytes(bomb)
        read, bomb = Observations.from_file, path
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="decompresses to more than 1000000 bytes, the most that is decoded"):
            read(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * LIMIT


def test_the_limit_takes_any_export_and_spares_the_machine():
    assert 64 << 20 < module.MAX_DECODED_BYTES <= 256 << 20
