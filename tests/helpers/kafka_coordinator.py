"""A broker that knows the requests of a consumer group only, for what real brokers do not show of them.

Formats: Kafka protocol guide, the oldest versions that librdkafka still speaks.
"""

from __future__ import annotations

import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

_METADATA, _FIND_COORDINATOR, _JOIN, _HEARTBEAT, _LEAVE, _SYNC, _API_VERSIONS = 3, 10, 11, 12, 13, 14, 18
#: Produce, fetch, and offsets: asked for by nobody who has no partitions.
_OTHERS: Final = (0, 1, 2, 8, 9)
_NAMES: Final = {_JOIN: "join", _HEARTBEAT: "heartbeat", _LEAVE: "leave", _SYNC: "sync"}
_UNSUPPORTED: Final = 35


class KafkaCoordinator:
    """Takes each member into the group, and gives its partitions to another one. Counts the requests of members."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.requests: Counter[str] = Counter()
        #: Of the last join.
        self.session_timeout_ms = self.rebalance_timeout_ms = 0
        handler = type("Handler", (_Handler,), {"coordinator": self})
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port: int = self._server.server_address[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, key: int, version: int, body: bytes) -> bytes:
        """Return the body of the answer to a request."""
        if key in _NAMES:
            self.requests[_NAMES[key]] += 1
        if key == _API_VERSIONS:
            return self._versions(0 if version == 0 else _UNSUPPORTED)
        if key == _JOIN:
            group = 2 + struct.unpack_from(">h", body)[0]
            self.session_timeout_ms, self.rebalance_timeout_ms = struct.unpack_from(">ii", body, group)
            return struct.pack(">hi", 0, 1) + _text("range") + _text("another") + _text("this") + _array()
        answers: Mapping[int, Any] = {
            _METADATA: self._metadata,
            _FIND_COORDINATOR: lambda: struct.pack(">hi", 0, 1) + _text("127.0.0.1") + struct.pack(">i", self.port),
            # An assignment of version 0: no topics, no data.
            _SYNC: lambda: struct.pack(">hihii", 0, 10, 0, 0, 0),
        }
        return bytes(answers.get(key, lambda: struct.pack(">h", 0))())

    def _versions(self, error: int) -> bytes:
        known = [(key, 0, 0) for key in (_FIND_COORDINATOR, _HEARTBEAT, _LEAVE, _SYNC, _API_VERSIONS)]
        known += [(_METADATA, 0, 1), (_JOIN, 0, 1), *((key, 0, 2) for key in _OTHERS)]
        return struct.pack(">h", error) + _array(*(struct.pack(">hhh", *one) for one in known))

    def _metadata(self) -> bytes:
        broker = struct.pack(">i", 1) + _text("127.0.0.1") + struct.pack(">ih", self.port, -1)
        partition = struct.pack(">hiiiiii", 0, 0, 1, 1, 1, 1, 1)
        topic = struct.pack(">h", 0) + _text(self.topic) + b"\0" + _array(partition)
        return _array(broker) + struct.pack(">i", 1) + _array(topic)


class _Handler(socketserver.StreamRequestHandler):
    coordinator: KafkaCoordinator

    def handle(self) -> None:
        """Answer until the client goes."""
        while len(head := self.rfile.read(4)) == 4:
            frame = self.rfile.read(struct.unpack(">i", head)[0])
            key, version, correlation, client = struct.unpack_from(">hhih", frame)
            answer = struct.pack(">i", correlation) + self.coordinator.answer(key, version, frame[10 + client :])
            try:
                self.wfile.write(struct.pack(">i", len(answer)) + answer)
            except OSError:
                return


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _array(*items: bytes) -> bytes:
    return struct.pack(">i", len(items)) + b"".join(items)
