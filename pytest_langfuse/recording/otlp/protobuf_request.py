"""Protobuf bodies as Langfuse's decoder reads them: it replaces what is not UTF-8, where Python's refuses the body.

(server, 2026-08: protobufjs reads strings of a Buffer with `utf8Slice`)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from google.protobuf.descriptor_pb2 import (  # type: ignore[import-untyped, unused-ignore]
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[import-untyped, unused-ignore]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped, unused-ignore]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_REPLACED: Final = "string fields as bytes"


def parse_request(data: bytes) -> ExportTraceServiceRequest:
    """Return a serialized request, with U+FFFD for what is not UTF-8 in its strings.

    Raises:
        google.protobuf.message.DecodeError: The bytes are not one.
    """
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(data)
    except DecodeError:
        request.ParseFromString(_with_valid_strings(data))
    return request


def _with_valid_strings(data: bytes) -> bytes:
    request = _twin().FromString(data)
    _replace(request)
    replaced: bytes = request.SerializePartialToString()
    return replaced


def _replace(message: Any) -> None:
    for field, value in message.ListFields():
        repeated = not isinstance(value, bytes | int | float | bool) and not hasattr(value, "ListFields")
        if field.message_type is not None:
            for one in value if repeated else (value,):
                _replace(one)
        elif field.json_name.endswith(_REPLACED):
            if repeated:
                value[:] = [_valid(one) for one in value]
            else:
                setattr(message, field.name, _valid(value))


def _valid(value: bytes) -> bytes:
    return value.decode("utf-8", "replace").encode()


@lru_cache(maxsize=1)
def _twin() -> Any:
    """Return the class of the message with bytes in place of strings, which may hold anything."""
    pool = DescriptorPool()
    _add(pool, ExportTraceServiceRequest.DESCRIPTOR.file, set())
    return GetMessageClass(pool.FindMessageTypeByName(ExportTraceServiceRequest.DESCRIPTOR.full_name))


def _add(pool: Any, file: Any, known: set[str]) -> None:
    if file.name in known:
        return
    known.add(file.name)
    for needed in file.dependencies:
        _add(pool, needed, known)
    copied = FileDescriptorProto()
    file.CopyToProto(copied)
    for message in copied.message_type:
        _strings_as_bytes(message)
    pool.Add(copied)


def _strings_as_bytes(message: DescriptorProto) -> None:
    for field in message.field:
        if field.type == FieldDescriptorProto.TYPE_STRING:
            field.type = FieldDescriptorProto.TYPE_BYTES
            field.json_name = f"{field.name} {_REPLACED}"
    for nested in message.nested_type:
        _strings_as_bytes(nested)
