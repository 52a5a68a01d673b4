"""Names that a package exports and imports on first use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import get_annotations
from typing import Any, TypeVar

_Class = TypeVar("_Class", bound=type)


def lazy_exports(package: str, modules: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of `package`.

    `modules` has the exported names by the module that defines them, relative to the package.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> Any:  # noqa: N807 - the name that tracebacks show for it
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        value = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__


def exported_by(package: str) -> Callable[[_Class], _Class]:
    """Decorate a class that users import from `package`, so that tracebacks, `repr` and pickles name it that way."""

    def rename(cls: _Class) -> _Class:
        # Evaluated now: `typing.get_type_hints` would look the names up in `package`, not in the file of the class.
        if annotations := get_annotations(cls, locals={cls.__name__: cls}, eval_str=True):
            cls.__annotations__ = annotations
        cls.__module__ = package
        return cls

    return rename
