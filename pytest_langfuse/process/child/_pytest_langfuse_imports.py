"""Hooks into modules when, and only if, the application imports them."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    from _pytest_langfuse_ledger import Ledger  # type: ignore[import-not-found, unused-ignore]

#: Modules of the application, and which function of which module of ours is called with them.
_SPANS = {
    "opentelemetry.sdk.trace": ("_pytest_langfuse_spans", "watch_spans"),
    "opentelemetry.sdk.trace.export": ("_pytest_langfuse_spans", "watch_processors"),
}
_ADDRESSES = {
    "langfuse": ("_pytest_langfuse_addresses", "readdress_client"),
    "opentelemetry.exporter.otlp.proto.http.trace_exporter": ("_pytest_langfuse_addresses", "readdress_exporter"),
    "pytest_langfuse.tracing.config": ("_pytest_langfuse_addresses", "readdress_config"),
}


class AfterImport:
    """A finder that calls what belongs to a module after its import; at once if it was imported before."""

    def __init__(self, hooks: dict[str, Callable[[ModuleType], None]]) -> None:
        self._hooks = hooks

    def start(self) -> None:
        """Watch from now on."""
        for name in [name for name in self._hooks if name in sys.modules]:
            self._hooks.pop(name)(sys.modules[name])
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one of the modules as it would be found without this finder."""
        if fullname not in self._hooks:
            return None
        for finder in sys.meta_path:
            find_spec = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find_spec(fullname, path, target) if find_spec is not None else None
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Then(spec.loader, self._hooks.pop(fullname))  # type: ignore[assignment] # as above
                return spec
        return None


class _Then:
    """A loader that calls `hook` when it has loaded the module."""

    def __init__(self, loader: Any, hook: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        # The module is to know its own loader, as without us.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._hook(module)


def start(folder: str, ledger_folder: str, url: str | None) -> None:
    """Keep a ledger in `ledger_folder`, and send to `url` what would leave this machine. `folder` is in `sys.path`."""
    import _pytest_langfuse_ledger

    ledger = _pytest_langfuse_ledger.start(ledger_folder)
    hooks = {name: _later(folder, *place, ledger, ledger) for name, place in _SPANS.items()}
    if url:
        hooks.update({name: _later(folder, *place, url, ledger) for name, place in _ADDRESSES.items()})
    AfterImport(hooks).start()


def _later(folder: str, module_name: str, function: str, given: object, ledger: Ledger) -> Callable[[ModuleType], None]:
    """A hook that loads what it needs when it is called: an application without tracing does not pay for it."""

    def hook(module: ModuleType) -> None:
        sys.path.insert(0, folder)
        try:
            getattr(__import__(module_name), function)(module, given)
        except Exception as error:  # noqa: BLE001 - said in the ledger; the application goes on
            ledger.failed(error)
        finally:
            sys.path.remove(folder)

    return hook
