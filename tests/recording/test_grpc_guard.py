"""The second line for OTLP over gRPC."""

import socket
import sys
from importlib import import_module

import pytest

from pytest_langfuse.recording.grpc_guard import GrpcGuard
from pytest_langfuse.recording.sdk import grpc_endpoint

pytest.importorskip("grpc")
NAME = "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"


def connects(module) -> bool:
    """Whether an exporter of the module opens a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        exporter = module.OTLPSpanExporter(endpoint=f"http://127.0.0.1:{server.getsockname()[1]}", timeout=1)
        try:
            exporter.export([])
        except ConnectionRefusedError as error:
            if str(error) != f"127.0.0.1:{server.getsockname()[1]} an OTLP exporter's endpoint, over gRPC":
                raise
            return False
        finally:
            exporter.shutdown()
        server.accept()[0].close()
        return True


def refuse(endpoint, known_as):
    raise ConnectionRefusedError(f"{endpoint} {known_as}")


@pytest.fixture(params=["imported before", "imported later"])
def guarded(request, monkeypatch):
    """The guard, and the exporter's module, which is imported before or after the guard is installed."""
    if request.param == "imported later":
        monkeypatch.delitem(sys.modules, NAME, raising=False)
    else:
        import_module(NAME)
    guard = GrpcGuard(refuse, grpc_endpoint)
    before = list(sys.meta_path)
    guard.install()
    module = import_module(NAME)
    assert sys.meta_path == before
    assert module.__spec__.loader is module.__loader__
    yield guard, module
    guard.uninstall()


def test_an_export_is_refused(guarded):
    _, module = guarded
    assert not connects(module)


def test_without_the_guard_it_connects(guarded):
    guard, module = guarded
    guard.uninstall()
    assert connects(module)


def test_a_guard_that_never_saw_an_import_leaves_nothing(monkeypatch):
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    before = list(sys.meta_path)
    guard = GrpcGuard(refuse, grpc_endpoint)
    guard.install()
    assert guard in sys.meta_path
    guard.uninstall()
    assert sys.meta_path == before


def test_the_sdk_still_has_the_endpoint(guarded):
    _, module = guarded
    exporter = module.OTLPSpanExporter(endpoint="http://collector.example:4317")
    assert grpc_endpoint(exporter) == "collector.example:4317"
    exporter.shutdown()
