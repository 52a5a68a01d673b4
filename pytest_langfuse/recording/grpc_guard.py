"""The second line for OTLP over gRPC, whose connections no socket of Python shows: batches are refused at export."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from pytest_langfuse.import_watcher import ImportWatcher


class GrpcGuard:
    """Calls `refuse(endpoint, known_as)` before each export over gRPC; it raises if the caller is captured.

    `exporters` are the classes that export, by the names of their modules; `endpoint_of` returns where one sends.
    Nothing is imported that the application does not import.
    """

    def __init__(
        self, exporters: Mapping[str, str], refuse: Callable[[str, str], None], endpoint_of: Callable[[object], str]
    ) -> None:
        self._refuse = refuse
        self._endpoint_of = endpoint_of
        self._undo: list[Callable[[], None]] = []
        self._imports = ImportWatcher({module: partial(self._wrap, name) for module, name in exporters.items()})

    def install(self) -> None:
        """Wrap each exporter now, or when it is imported."""
        self._imports.start()

    def uninstall(self) -> None:
        """Remove the wraps. One that something else has wrapped meanwhile stays in place, and lets all pass."""
        self._imports.stop()
        self._refuse = lambda _endpoint, _known_as: None
        for undo in self._undo:
            undo()
        self._undo.clear()

    def _wrap(self, name: str, module: ModuleType) -> None:
        exporter_class = getattr(module, name)
        original = exporter_class.export

        @functools.wraps(original)
        def export(exporter: Any, *args: Any, **kwargs: Any) -> Any:
            self._refuse(self._endpoint_of(exporter), "an OTLP exporter's endpoint, over gRPC")
            return original(exporter, *args, **kwargs)

        def undo() -> None:
            if exporter_class.export is export:
                exporter_class.export = original

        exporter_class.export = export
        self._undo.append(undo)
