"""The second line for OTLP over gRPC, whose connections no socket of Python shows: batches are refused at export."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_MODULE = "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"


class GrpcGuard(MetaPathFinder):
    """Calls `refuse(endpoint, known_as)` before each export over gRPC; it raises if the caller is captured.

    `endpoint_of` returns where an exporter sends. Nothing is imported that the application does not import.
    """

    def __init__(self, refuse: Callable[[str, str], None], endpoint_of: Callable[[object], str]) -> None:
        self._refuse = refuse
        self._endpoint_of = endpoint_of
        self._undo: Callable[[], None] | None = None

    def install(self) -> None:
        """Wrap the exporter now, or when it is imported."""
        module = sys.modules.get(_MODULE)
        if module is not None:
            self._wrap(module)
        else:
            sys.meta_path.insert(0, self)

    def uninstall(self) -> None:
        """Remove the wrap. One that something else has wrapped meanwhile stays in place."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        if self._undo is not None:
            self._undo()
            self._undo = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Hook into the import of the exporter, and of nothing else."""
        if fullname != _MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _WrappingLoader(spec.loader, self._wrap)
        return spec

    def _wrap(self, module: ModuleType) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        exporter_class = module.OTLPSpanExporter
        original = exporter_class.export

        @functools.wraps(original)
        def export(exporter: Any, spans: Any) -> Any:
            self._refuse(self._endpoint_of(exporter), "an OTLP exporter's endpoint, over gRPC")
            return original(exporter, spans)

        def undo() -> None:
            if exporter_class.export is export:
                exporter_class.export = original

        exporter_class.export = export
        self._undo = undo


class _WrappingLoader(Loader):
    """Calls back when a module has been executed."""

    def __init__(self, loader: Loader, callback: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._callback = callback

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module sees its original loader.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._callback(module)
