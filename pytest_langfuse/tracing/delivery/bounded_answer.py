"""Answers that are read to their end, or to a limit: whoever answers must not fill this process's memory."""

from __future__ import annotations

import zlib
from typing import Protocol

import httpx

#: Bytes, after decompression, of an answer to what tracing itself asks: exports, scores, prompts.
LARGEST_ANSWER = 1024 * 1024
#: Of an answer to what the application asks of Langfuse's API: pages of traces, datasets.
LARGEST_PAGE = 64 * 1024 * 1024

#: What is sent as `Accept-Encoding`: encodings that can be decoded up to a limit.
ENCODINGS = "gzip, deflate"
_PROMPTS = "/api/public/v2/prompts/"
#: Headers that say how the body came; it is decoded here.
_OF_THE_BODY = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


class AnswerTooLarge(httpx.RemoteProtocolError):
    """The answer is longer than it may be, or can't be decoded."""


def largest_answer(request: httpx.Request) -> int:
    """Return the number of bytes that the answer to a request may have."""
    asked_by_application = request.method == "GET" and _PROMPTS not in request.url.path
    return LARGEST_PAGE if asked_by_application else LARGEST_ANSWER


def read(response: httpx.Response, limit: int) -> httpx.Response:
    """Return the response with its body read and decoded, and close its connection's part in it.

    Raises:
        AnswerTooLarge: It has more than `limit` bytes, or an encoding that is not in `ENCODINGS`.
    """
    if response.is_stream_consumed:
        return response
    try:
        body = _Body(response, limit)
        for chunk in response.iter_raw():
            body.add(chunk)
    finally:
        response.close()
    return body.response()


async def read_async(response: httpx.Response, limit: int) -> httpx.Response:
    """Do what `read` does for a response of an asynchronous transport."""
    if response.is_stream_consumed:
        return response
    try:
        body = _Body(response, limit)
        async for chunk in response.aiter_raw():
            body.add(chunk)
    finally:
        await response.aclose()
    return body.response()


class _Decoder(Protocol):
    def decode(self, data: bytes, limit: int) -> bytes:
        """Return at most `limit + 1` bytes."""


class _Zlib:
    def __init__(self, *, gzip: bool) -> None:
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 16 if gzip else zlib.MAX_WBITS)
        self._may_be_raw = not gzip

    def decode(self, data: bytes, limit: int) -> bytes:
        try:
            return self._decoder.decompress(data, limit + 1)
        except zlib.error:
            if not self._may_be_raw:
                raise
            # Some servers mean by "deflate" the bare format (RFC 9110, section 8.4.1.2).
            self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._decoder.decompress(data, limit + 1)
        finally:
            self._may_be_raw = False


class _Body:
    def __init__(self, response: httpx.Response, limit: int) -> None:
        self._response, self._limit, self._left = response, limit, limit
        self._decoders = [_decoder(name) for name in reversed(_encodings(response.headers))]
        self._parts: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        try:
            for decoder in self._decoders:
                chunk = decoder.decode(chunk, self._left)
        except zlib.error as error:
            message = f"Langfuse's answer can't be decoded: {error}"
            raise AnswerTooLarge(message) from None
        self._left -= len(chunk)
        if self._left < 0:
            message = f"Langfuse's answer has more than {self._limit} bytes."
            raise AnswerTooLarge(message)
        self._parts.append(chunk)

    def response(self) -> httpx.Response:
        headers = [(name, value) for name, value in self._response.headers.raw if name.lower() not in _OF_THE_BODY]
        return httpx.Response(
            self._response.status_code,
            headers=headers,
            content=b"".join(self._parts),
            extensions=self._response.extensions,
        )


def _encodings(headers: httpx.Headers) -> list[str]:
    names = [name.strip().lower() for name in headers.get_list("content-encoding", split_commas=True)]
    return [name for name in names if name not in {"", "identity"}]


def _decoder(name: str) -> _Decoder:
    if name in {"gzip", "x-gzip"}:
        return _Zlib(gzip=True)
    if name == "deflate":
        return _Zlib(gzip=False)
    message = f"Langfuse's answer has an encoding that was not asked for: {name[:40]!r}"
    raise AnswerTooLarge(message)
