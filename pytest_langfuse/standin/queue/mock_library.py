"""The functions of librdkafka's mock cluster (rdkafka_mock.h), in the library that confluent-kafka is linked to."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final

_TEXT_SIZE: Final = 512
_PRODUCER: Final = 0
#: The key of Produce requests in Kafka's protocol.
_PRODUCE: Final = 0
#: The mock cluster has one broker, whose id is this.
_BROKER: Final = 1

Handle = int | None


class MockLibrary:
    """Typed access to the functions. Read from librdkafka 2.6 and 2.16.

    Raises:
        ImportError: confluent-kafka is not installed.
    """

    def __init__(self) -> None:
        from confluent_kafka import cimpl

        # The symbols of what it is linked to are found through it, wherever that library is.
        library: Any = ctypes.CDLL(str(cimpl.__file__))
        pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p

        def function(name: str, result: Any, *arguments: Any) -> Any:
            found = getattr(library, f"rd_kafka_{name}")
            found.restype, found.argtypes = result, list(arguments)
            return found

        self._conf_new = function("conf_new", pointer)
        self._conf_set = function("conf_set", number, pointer, text, text, text, ctypes.c_size_t)
        self._new = function("new", pointer, number, pointer, text, ctypes.c_size_t)
        self._destroy = function("destroy", None, pointer)
        self._cluster_new = function("mock_cluster_new", pointer, pointer, number)
        self._cluster_destroy = function("mock_cluster_destroy", None, pointer)
        self._bootstraps = function("mock_cluster_bootstraps", text, pointer)
        self._topic_create = function("mock_topic_create", number, pointer, text, number, number)
        self._set_down = function("mock_broker_set_down", number, pointer, ctypes.c_int32)
        self._set_up = function("mock_broker_set_up", number, pointer, ctypes.c_int32)
        self._set_rtt = function("mock_broker_set_rtt", number, pointer, ctypes.c_int32, number)
        self._push_errors = function(
            "mock_push_request_errors_array", None, pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(number)
        )
        self._clear_errors = function("mock_clear_request_errors", None, pointer, ctypes.c_int16)
        self._start_tracking = function("mock_start_request_tracking", None, pointer)
        self._stop_tracking = function("mock_stop_request_tracking", None, pointer)
        self._requests = function(
            "mock_get_requests", ctypes.POINTER(pointer), pointer, ctypes.POINTER(ctypes.c_size_t)
        )
        self._requests_destroy = function("mock_request_destroy_array", None, ctypes.POINTER(pointer), ctypes.c_size_t)
        self._api_key = function("mock_request_api_key", ctypes.c_int16, pointer)

    def start(self) -> tuple[Handle, Handle]:
        """Start a cluster of one broker, and return its client and itself, both to be destroyed with `stop`.

        Raises:
            OSError: librdkafka could not start it.
        """
        text = ctypes.create_string_buffer(_TEXT_SIZE)
        conf = self._conf_new()
        # It warns that it has no address of a broker.
        self._conf_set(conf, b"log_level", b"0", text, _TEXT_SIZE)
        client = self._new(_PRODUCER, conf, text, _TEXT_SIZE)
        cluster = self._cluster_new(client, 1) if client else None
        if not cluster:
            raise OSError(f"librdkafka can't start its mock cluster: {text.value.decode(errors='replace')}")
        return client, cluster

    def stop(self, client: Handle, cluster: Handle) -> None:
        """End the cluster and its threads."""
        self._cluster_destroy(cluster)
        self._destroy(client)

    def brokers(self, cluster: Handle) -> str:
        """Return the addresses of the brokers, HOST:PORT."""
        return str(self._bootstraps(cluster).decode())

    def create_topic(self, cluster: Handle, name: str, partitions: int) -> None:
        """Create a topic; one that is there stays as it is."""
        self._topic_create(cluster, name.encode(), partitions, 1)

    def set_down(self, cluster: Handle) -> None:
        """Close all connections, and refuse new ones."""
        self._set_down(cluster, _BROKER)

    def set_up(self, cluster: Handle) -> None:
        """Accept connections again."""
        self._set_up(cluster, _BROKER)

    def set_round_trip(self, cluster: Handle, seconds: float) -> None:
        """Let each answer take so long."""
        self._set_rtt(cluster, _BROKER, round(seconds * 1000))

    def fail_produce(self, cluster: Handle, errors: Sequence[int]) -> None:
        """Answer the next Produce requests with these errors of the protocol, one each; 0 means none."""
        self._clear_errors(cluster, _PRODUCE)
        if errors:
            self._push_errors(cluster, _PRODUCE, len(errors), (ctypes.c_int * len(errors))(*errors))

    def track(self, cluster: Handle, *, on: bool) -> None:
        """Start or stop to remember requests."""
        (self._start_tracking if on else self._stop_tracking)(cluster)

    def produce_requests(self, cluster: Handle) -> int:
        """Return the number of Produce requests since tracking has started."""
        count = ctypes.c_size_t()
        requests = self._requests(cluster, ctypes.byref(count))
        if not count.value:
            return 0
        try:
            return sum(self._api_key(requests[index]) == _PRODUCE for index in range(count.value))
        finally:
            self._requests_destroy(requests, count.value)
