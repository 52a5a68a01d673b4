"""Metrics and logs of captured tests: OpenTelemetry's exporters take them, and send nothing.

They are not Langfuse's, but go the same way as spans: to its host, or to a collector. A log record belongs to the test
in which it was emitted, whenever it is sent. Metrics are sums over the process, which belong to nobody: what counts is
for whom the exporting thread works. Readers and exporters in memory see everything.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from pytest_langfuse.import_watcher import ImportWatcher
from pytest_langfuse.recording.origin import MARK, Origin, item_of


class MetricsAndLogs:
    """Hooks the exporters of metrics and logs when they are imported.

    `metric_exporters`, `log_exporters` and `log_processors` are classes by the names of their modules. `origin` returns
    for whom the current thread works.
    """

    def __init__(
        self,
        origin: Callable[[], Origin | None],
        *,
        metric_exporters: Mapping[str, str],
        log_exporters: Mapping[str, str],
        log_processors: Mapping[str, str],
    ) -> None:
        self._origin = origin
        self._hooks = {
            **{module: partial(self._hook_metrics, name) for module, name in metric_exporters.items()},
            **{module: partial(self._hook_logs, name) for module, name in log_exporters.items()},
            **{module: partial(self._hook_emission, name) for module, name in log_processors.items()},
        }
        self._imports = ImportWatcher({})
        self._undo: list[Callable[[], None]] = []
        self._names = {**metric_exporters, **log_exporters}
        #: The exporters that are known.
        self.exporters: weakref.WeakSet[Any] = weakref.WeakSet()

    def install(self) -> None:
        """Hook what is imported, and what will be."""
        self._imports = ImportWatcher(self._hooks)
        self._imports.start()

    def uninstall(self) -> None:
        """Remove the hooks."""
        self._imports.stop()
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def imported_exporters(self) -> list[type]:
        """Return the classes of exporters that are imported."""
        return [getattr(sys.modules[module], name) for module, name in self._names.items() if module in sys.modules]

    # -- hooks ---------------------------------------------------------------------------------------------------

    def _hook_metrics(self, name: str, module: ModuleType) -> None:
        exporter_class = getattr(module, name)
        success = _success(module)

        def export(original: Callable[..., Any], exporter: Any, *args: Any, **kwargs: Any) -> Any:
            self.exporters.add(exporter)
            return success if _is_captured(self._origin()) else original(exporter, *args, **kwargs)

        self._patch(exporter_class, "export", export)
        self._patch(exporter_class, "__init__", self._built)

    def _hook_logs(self, name: str, module: ModuleType) -> None:
        exporter_class = getattr(module, name)
        success = _success(module)

        def export(original: Callable[..., Any], exporter: Any, batch: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
            self.exporters.add(exporter)
            passing = [record for record in batch if not _is_captured(self._origin_of(record))]
            if not batch:
                # Nothing in it is captured.
                return original(exporter, batch, *args, **kwargs)
            if not passing:
                return success
            with item_of(self._origin_of(passing[-1])):
                return original(exporter, batch if len(passing) == len(batch) else passing, *args, **kwargs)

        self._patch(exporter_class, "export", export)
        self._patch(exporter_class, "__init__", self._built)

    def _hook_emission(self, name: str, module: ModuleType) -> None:
        self._patch(getattr(module, name), "on_emit", self._emitted)

    def _built(self, original: Callable[..., None], exporter: Any, *args: Any, **kwargs: Any) -> None:
        original(exporter, *args, **kwargs)
        self.exporters.add(exporter)

    def _emitted(self, original: Callable[..., Any], processor: Any, record: Any) -> Any:
        # Copies of the record, which the processor queues, keep the mark.
        setattr(record.log_record, MARK, self._origin())
        return original(processor, record)

    def _origin_of(self, record: Any) -> Origin | None:
        found: Origin | None = getattr(record.log_record, MARK, None)
        return self._origin() if found is None else found

    def _patch(self, owner: Any, name: str, hook: Callable[..., Any]) -> None:
        original = getattr(owner, name)
        inherited = name not in vars(owner)

        @functools.wraps(original, updated=())
        def hooked(*args: Any, **kwargs: Any) -> Any:
            return hook(original, *args, **kwargs)

        def undo() -> None:
            if inherited:
                delattr(owner, name)
            else:
                setattr(owner, name, original)

        setattr(owner, name, hooked)
        self._undo.append(undo)


def _success(module: ModuleType) -> Any:
    """Return what an exporter of `module` returns when it has sent a batch; OpenTelemetry 1.35 has another name."""
    names = ("MetricExportResult", "LogRecordExportResult", "LogExportResult")
    return next(getattr(module, name) for name in names if hasattr(module, name)).SUCCESS


def _is_captured(origin: Origin | None) -> bool:
    return origin is not None and origin.captured
