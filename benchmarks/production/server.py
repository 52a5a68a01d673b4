"""A Langfuse for benchmarks, in its own process: it is fast, counts what it got, and fails on request.

`python server.py [FILE]` prints its address. `POST /__mode/NAME` changes how it answers, `GET /__counts` says what it
accepted. With FILE it keeps only the ids of spans: it appends them there, 8 bytes each, before it answers.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PROMPT = json.dumps(
    {"type": "text", "name": "greeting", "version": 1, "prompt": "Hello", "config": {}, "labels": [], "tags": []}
).encode()
_DRIP = 0.5


def span_ids(body: bytes) -> Iterator[bytes]:
    """Yield the ids of the spans in an export body."""
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield span.span_id


class Server:
    """Keeps the bodies as they came; they are looked into when somebody asks for the counts."""

    def __init__(self, ids: Path | None = None) -> None:
        self.mode = "ok"
        self.bodies: list[bytes] = []
        self._ids = None if ids is None else ids.open("ab", buffering=0)

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = head.split(" ", 2)
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if path.startswith("/__"):
            self._answer(writer, 200, self._control(path))
            return True
        traces = path.endswith("/otel/v1/traces")
        if self.mode == "hang":
            await asyncio.sleep(3600)
        if self.mode == "reset":
            writer.transport.abort()
            return False
        if self.mode.isdigit():
            self._answer(writer, int(self.mode), b"{}")
            return True
        if traces:
            data = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
            if self._ids is None:
                self.bodies.append(data)
            else:
                self._ids.write(b"".join(span_ids(data)))
        answer = b"{}" if traces or method == "POST" else PROMPT
        if self.mode == "drip":
            raw = self._raw(200, answer)
            for position in range(len(raw)):
                writer.write(raw[position : position + 1])
                await writer.drain()
                await asyncio.sleep(_DRIP)
            return False
        self._answer(writer, 200, answer)
        return True

    def _control(self, path: str) -> bytes:
        if path.startswith("/__mode/"):
            self.mode = path.rsplit("/", 1)[1]
            return b"{}"
        ids = [span for body in self.bodies for span in span_ids(body)]
        size = sum(map(len, self.bodies))
        return json.dumps(
            {"spans": len(ids), "distinct": len(set(ids)), "requests": len(self.bodies), "bytes": size}
        ).encode()

    @staticmethod
    def _raw(status: int, body: bytes) -> bytes:
        return b"HTTP/1.1 %d Status\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
            status,
            len(body),
            body,
        )

    def _answer(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        writer.write(self._raw(status, body))


async def main() -> None:
    """Serve until stdin is closed."""
    server = Server(Path(sys.argv[1]) if sys.argv[1:] else None)
    service = await asyncio.start_server(server.connection, "127.0.0.1", 0, limit=1 << 26)
    print(f"http://127.0.0.1:{service.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    service.close()


if __name__ == "__main__":
    asyncio.run(main())
