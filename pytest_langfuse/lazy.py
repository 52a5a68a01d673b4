"""Lazy exports: a package that imports a name's module when the name is first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from inspect import get_annotations
from types import MappingProxyType
from typing import TypeVar

_Class = TypeVar("_Class", bound=type)
_NO_EXTRAS: Mapping[str, str] = MappingProxyType({})


def lazy_exports(
    package: str, homes: Mapping[str, str], *, extras: Mapping[str, str] = _NO_EXTRAS
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for `package`, which exports each name of `homes` from the module given there.

    `extras` maps a name to the optional dependency (and extra of that name) without which it can't be imported.
    Accessing it raises `ImportError` with the command that installs the extra. `dir()` lists what can be imported, and
    so does `__all__` where the package has none itself: `from package import *` works without the extras.
    """

    def get(name: str) -> object:
        if name == "__all__":
            return sorted(present())
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        try:
            value: object = getattr(import_module(homes[name]), name)
        except ModuleNotFoundError as error:
            if (extra := extras.get(name)) is None or error.name != extra:
                raise
        else:
            setattr(sys.modules[package], name, value)
            return value
        # Outside the except block, so that the traceback shows this error alone.
        raise ImportError(f"{package}.{name} needs {extra}: pip install 'pytest-langfuse[{extra}]'", name=extra)

    def present() -> list[str]:
        return [name for name in homes if name not in extras or find_spec(extras[name]) is not None]

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *present()})

    return get, names


def exported_by(package: str) -> Callable[[_Class], _Class]:
    """Decorate a class that users import from `package`, so that tracebacks, `repr` and pickles name it that way."""

    def rename(cls: _Class) -> _Class:
        # Evaluated now: `typing.get_type_hints` would look the names up in `package`, not in the file of the class.
        if annotations := get_annotations(cls, locals={cls.__name__: cls}, eval_str=True):
            cls.__annotations__ = annotations
        cls.__module__ = package
        return cls

    return rename
