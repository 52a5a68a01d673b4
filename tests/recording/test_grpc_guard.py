"""The second line for OTLP over gRPC."""

import importlib.util
import socket
import sys
from importlib import import_module

import pytest

from pytest_langfuse.recording.grpc_guard import GrpcGuard
from pytest_langfuse.recording.sdk import GRPC_EXPORTERS, exporter_endpoint

pytest.importorskip("grpc")
each_signal = pytest.mark.parametrize("name", GRPC_EXPORTERS, ids=["spans", "metrics", "logs"])


def exporter(name, endpoint="http://collector.example:4317"):
    return getattr(import_module(name), GRPC_EXPORTERS[name])(endpoint=endpoint, timeout=1)


def nothing(name):
    """A batch without an item."""
    if name.endswith("metric_exporter"):
        return import_module("opentelemetry.sdk.metrics.export").MetricsData(resource_metrics=[])
    return []


def connects(name) -> bool:
    """Whether an exporter opens a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        exporting = exporter(name, f"http://127.0.0.1:{server.getsockname()[1]}")
        try:
            exporting.export(nothing(name))
        except ConnectionRefusedError as error:
            if str(error) != f"127.0.0.1:{server.getsockname()[1]} an OTLP exporter's endpoint, over gRPC":
                raise
            return False
        finally:
            exporting.shutdown()
        server.accept()[0].close()
        return True


def refuse(endpoint, known_as):
    raise ConnectionRefusedError(f"{endpoint} {known_as}")


@pytest.fixture(params=["imported before", "imported later"])
def guard(request, monkeypatch):
    """The guard, installed before or after the import of the exporters."""
    for name in GRPC_EXPORTERS:
        import_module(name)
        if request.param == "imported later":
            monkeypatch.delitem(sys.modules, name)
    guard = GrpcGuard(GRPC_EXPORTERS, refuse, exporter_endpoint)
    before = list(sys.meta_path)
    guard.install()
    for name in GRPC_EXPORTERS:
        module = import_module(name)
        assert module.__spec__.loader is module.__loader__
        assert type(module.__loader__).__module__ == "_frozen_importlib_external"
    assert sys.meta_path == before
    yield guard
    guard.uninstall()


@each_signal
def test_an_export_is_refused(guard, name):
    assert not connects(name)


@pytest.mark.slow
@each_signal
def test_without_the_guard_it_connects(guard, name):
    if name.endswith("_log_exporter") and importlib.util.find_spec("opentelemetry.exporter.otlp.common") is None:
        pytest.skip("an OpenTelemetry that sends no batch of logs without a record")
    guard.uninstall()
    assert connects(name)


def test_a_guard_that_never_saw_an_import_leaves_nothing(monkeypatch):
    for name in GRPC_EXPORTERS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = list(sys.meta_path)
    guard = GrpcGuard(GRPC_EXPORTERS, refuse, exporter_endpoint)
    guard.install()
    assert sys.meta_path != before
    guard.uninstall()
    assert sys.meta_path == before


def test_looking_for_the_exporter_is_not_importing_it(monkeypatch):
    """Applications ask `find_spec` whether an optional library is there, and import it later."""
    name = next(iter(GRPC_EXPORTERS))
    monkeypatch.delitem(sys.modules, name, raising=False)
    guard = GrpcGuard(GRPC_EXPORTERS, refuse, exporter_endpoint)
    guard.install()
    assert importlib.util.find_spec(name) is not None
    assert not connects(name)
    guard.uninstall()


@each_signal
def test_the_sdk_still_has_the_endpoint(guard, name):
    exporting = exporter(name)
    assert exporter_endpoint(exporting) == "collector.example:4317"
    exporting.shutdown()
