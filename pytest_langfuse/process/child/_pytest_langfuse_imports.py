"""Hooks that run right after the application imports certain modules, and only then."""

from __future__ import annotations

import os
import sys

#: Variables that the test's process has set, as they were at the start: the application may clear its environment.
at_start: dict[str, str] = {}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

# Modules of the application, each with the hook that is called with it: a module beside this one, and its function.
# All of them are public modules. A test imports each in a child process and checks what its hook replaced.
SPAN_HOOKS = {
    "opentelemetry.sdk.trace": ("_pytest_langfuse_spans", "watch_spans"),
    "opentelemetry.sdk.trace.export": ("_pytest_langfuse_spans", "watch_processors"),
}
ADDRESS_HOOKS = {
    "socket": ("_pytest_langfuse_connections", "guard_sockets"),
    "langfuse": ("_pytest_langfuse_addresses", "readdress_client"),
    "langfuse.api": ("_pytest_langfuse_addresses", "readdress_api"),
    "opentelemetry.exporter.otlp.proto.http.trace_exporter": ("_pytest_langfuse_addresses", "readdress_exporter"),
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter": ("_pytest_langfuse_addresses", "readdress_grpc_exporter"),
    "pytest_langfuse.tracing": ("_pytest_langfuse_addresses", "readdress_config"),
    "pytest_langfuse.tracing.queue.endpoints": ("_pytest_langfuse_queues", "readdress_queues"),
}


class AfterImport:
    """A finder that calls each hook once, after the import of its module; at once if that is imported already."""

    def __init__(self, hooks: dict[str, Callable[[ModuleType], None]]) -> None:
        self._hooks = hooks

    def start(self) -> None:
        """Call the hooks of imported modules, and watch the imports from now on."""
        for name in [name for name in self._hooks if name in sys.modules]:
            self._hooks.pop(name)(sys.modules[name])
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a hooked module as the other finders do, with a loader that calls the hook."""
        if fullname not in self._hooks:
            return None
        for finder in sys.meta_path:
            find_spec = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find_spec(fullname, path, target) if find_spec is not None else None
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _HookedLoader(spec.loader, self._hooks)  # type: ignore[assignment] # duck-typed
                return spec
        return None


class _HookedLoader:
    """A loader that calls the hook of a module once it has loaded it."""

    def __init__(self, loader: Any, hooks: dict[str, Callable[[ModuleType], None]]) -> None:
        self._loader = loader
        self._hooks = hooks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        # The module sees its original loader, as without this finder.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        # Not when the spec is found: the application may look for a spec without importing the module, or import it
        # again after a failure.
        hook = self._hooks.pop(module.__name__, None)
        if hook is not None:
            hook(module)


def start(folder: str, ledger_folder: str | None, url: str | None) -> None:
    """Begin a ledger in `ledger_folder`, and redirect to `url` what would be sent elsewhere; `None` leaves that out.

    `folder` is the folder of this file, which is in `sys.path` during this call.
    """
    failed = _say
    hooks = {}
    if ledger_folder:
        # In `sys.path` only during this call.
        import _pytest_langfuse_ledger  # type: ignore[import-not-found]

        ledger = _pytest_langfuse_ledger.start(ledger_folder)
        failed = ledger.failed
        hooks.update({name: _hook(folder, *function, ledger, failed) for name, function in SPAN_HOOKS.items()})
    if url:
        at_start.update({name: value for name, value in os.environ.items() if name.startswith("PYTEST_LANGFUSE_")})
        hooks.update({name: _hook(folder, *function, url, failed) for name, function in ADDRESS_HOOKS.items()})
    AfterImport(hooks).start()


def _say(error: Exception) -> None:
    """Say that a process could not be kept away from Langfuse: it has no ledger that would note it."""
    print(f"pytest-langfuse: this process may reach the real Langfuse: {error!r}", file=sys.stderr)  # noqa: T201


def _hook(
    folder: str, module_name: str, function: str, argument: object, failed: Callable[[Exception], None]
) -> Callable[[ModuleType], None]:
    """Return a hook that imports its module when it is called: an application without tracing does not pay for it."""

    def hook(module: ModuleType) -> None:
        sys.path.insert(0, folder)
        try:
            getattr(__import__(module_name), function)(module, argument)
        except Exception as error:  # noqa: BLE001 - told to the test; the application continues
            failed(error)
        finally:
            sys.path.remove(folder)

    return hook
