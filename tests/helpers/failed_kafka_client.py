"""Fatal errors of librdkafka, after which a producer or consumer can't be used any more."""

import ctypes
from typing import Any

UNKNOWN_PRODUCER_ID = 59


def fail_for_good(client: Any) -> None:
    """Raise a fatal error in librdkafka, as when a broker answers UNKNOWN_PRODUCER_ID (rdkafka.h, test_fatal_error)."""
    from confluent_kafka import cimpl

    raise_error = ctypes.CDLL(str(cimpl.__file__)).rd_kafka_test_fatal_error
    raise_error.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p]
    # The handle is the first field of the object.
    handle = ctypes.c_void_p.from_address(id(client) + object.__basicsize__).value
    assert raise_error(handle, UNKNOWN_PRODUCER_ID, b"the broker lost it") == 0
