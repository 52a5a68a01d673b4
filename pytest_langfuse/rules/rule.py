"""A rule: a function with a code, and the register of all."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeVar

if TYPE_CHECKING:
    from pytest_langfuse.rules.finding import Fact, Severity
    from pytest_langfuse.rules.secrets.own_pattern import OwnPattern

#: What a rule is called with, once for each: an observation, a linked trace, or the whole of a test or file.
Each = Literal["observation", "trace", "all"]
Check = TypeVar("Check", bound="Callable[..., Fact | Sequence[Fact] | None]")

_CODE: Final = re.compile(r"LF\d{3}")
_REGISTER: Final[dict[str, Rule]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule of the catalogue."""

    code: str
    #: Two or three words, as messages show them.
    name: str
    severity: Severity
    each: Each
    #: Types of the observations that it looks at; empty for all.
    types: frozenset[str]
    check: Callable[..., Fact | Sequence[Fact] | None]
    #: The options that a project may set otherwise, by their names: numbers, or patterns, of which there are none yet.
    options: Mapping[str, float | tuple[OwnPattern, ...]] = field(default_factory=dict)


def rule(
    code: str,
    name: str,
    *,
    severity: Severity = "error",
    each: Each = "observation",
    types: Sequence[str] = (),
    options: Mapping[str, float | tuple[OwnPattern, ...]] = MappingProxyType({}),
) -> Callable[[Check], Check]:
    """Register the decorated function as a rule.

    It is called with what `each` names (an `Observation`, a `TraceView`) and the `Evidence`, with `each="all"` with the
    evidence alone. It returns what it finds: `None`, a `Fact` or several. It must not walk over all observations again.
    """

    def register(check: Check) -> Check:
        if not _CODE.fullmatch(code) or code in _REGISTER:
            raise ValueError(f"{code} is not a code, or is taken")
        _REGISTER[code] = Rule(
            code=code, name=name, severity=severity, each=each, types=frozenset(types), check=check, options=options
        )
        return check

    return register


@cache
def all_rules() -> Mapping[str, Rule]:
    """Return every rule by its code, in order."""
    catalogue = importlib.import_module("pytest_langfuse.rules.catalogue")
    for module in sorted(pkgutil.iter_modules(catalogue.__path__), key=lambda module: module.name):
        importlib.import_module(f"{catalogue.__name__}.{module.name}")
    return MappingProxyType(dict(sorted(_REGISTER.items())))
