"""The rules by which traces are kept beyond errors and slow ones: by name, user, session, tag, or a function.

A rule is a function of a `SampledTrace` that returns a rate, `True` (keep it), `False` (drop it) or `None` (the next
rule decides). `SamplingRule` makes the usual ones. The first verdict counts; without one, `sample_rate` does.
"""

from __future__ import annotations

import fnmatch
import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

from pytest_langfuse.tracing.arguments import checked
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.lazy import exported_by
from pytest_langfuse.tracing.sampled_trace import SampledTrace
from pytest_langfuse.tracing.setting_parsers import Invalid, Parser, elements, number, text
from pytest_langfuse.tracing.shown import shown

#: pytest shows no frame of this module: what is wrong is the caller's argument.
__tracebackhide__ = True

#: Trace metadata that tells why a trace was kept; Langfuse reads the attribute (langfuse 5.0.4, attributes.py).
SAMPLING_ATTRIBUTE = "langfuse.trace.metadata.sampling"

#: The lower bits of a trace id, which decide as in OpenTelemetry's `TraceIdRatioBased`.
ID_BITS = (1 << 64) - 1

#: Reasons that are not a rule's.
RATE, ERROR, SLOW, DROPPED = "rate", "error", "slow", "dropped"
_RESERVED = frozenset({RATE, ERROR, SLOW, DROPPED})

#: Of a rule: a share of the traces, whether to keep the trace, or nothing.
Verdict = float | bool | None


def bound_of(rate: float) -> int:
    """Return the number below which the lower 64 bits of a trace id are for the trace to be kept at `rate`."""
    return round(rate * (1 << 64))


def _globs(value: Any) -> tuple[str, ...]:
    allowed, example = "a text or a list of them, '*' and '?' allowed", "'vip-*'"
    items = (value,) if isinstance(value, str) else tuple(elements(value, "texts", allowed, example))
    for item in items:
        if not isinstance(item, str):
            raise Invalid(f"has {shown(item)}, which is not a text", allowed, example, wrong_type=True)
        if not item:
            raise Invalid("is empty", allowed, example)
    if not items:
        raise Invalid("is empty", allowed, example)
    return items


_share = number(0.0, 1.0, example="0.5")


def _rate(value: Any) -> float | bool:
    return value if isinstance(value, bool) else float(_share(value))


def _reason(value: Any) -> str:
    reason = str(text(value))
    if reason in _RESERVED:
        raise Invalid("has another meaning", f"a text other than {', '.join(sorted(_RESERVED))}", "'vip'")
    return reason


@exported_by("pytest_langfuse.tracing")
@dataclass(frozen=True)
class SamplingRule:
    """Keeps a share of the traces that match: `SamplingRule(0.5, name="GET /items/*")`.

    `rate` is `True` (all of them, whatever a caller has decided), `False` (none) or a share from 0.0 to 1.0. A share is
    taken by the trace id: what is kept at one rate is kept at each higher one, in other services, too. All that is
    given has to match, each by one of its globs. `name` is compared with the name of the trace and with that of its
    first span here. `reason` is shown in the metadata of the trace.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has a value that is not allowed.
    """

    rate: float | bool
    name: str | Sequence[str] | None = None
    user_id: str | Sequence[str] | None = None
    session_id: str | Sequence[str] | None = None
    tag: str | Sequence[str] | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        """Check all of it."""
        object.__setattr__(self, "rate", checked("SamplingRule()", "rate", self.rate, _rate))
        for field in _CONDITIONS:
            if (value := getattr(self, field)) is not None:
                object.__setattr__(self, field, checked("SamplingRule()", field, value, _globs))
        if self.reason is not None:
            object.__setattr__(self, "reason", checked("SamplingRule()", "reason", self.reason, _reason))

    def __call__(self, trace: SampledTrace) -> Verdict:
        """Return the rate if the trace matches."""
        for field, values in _CONDITIONS.items():
            globs = getattr(self, field)
            if globs is not None and not any(_matches(globs, value) for value in values(trace)):
                return None
        return self.rate


_CONDITIONS: Mapping[str, Callable[[SampledTrace], Sequence[str | None]]] = {
    "name": lambda trace: (trace.name, trace.root.name),
    "user_id": lambda trace: (trace.user_id,),
    "session_id": lambda trace: (trace.session_id,),
    "tag": lambda trace: trace.tags,
}


def _matches(globs: tuple[str, ...], value: str | None) -> bool:
    return value is not None and _pattern(globs).fullmatch(value) is not None


@functools.lru_cache(maxsize=1_000)
def _pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs))


#: A `SamplingRule`, or the application's function.
Rule = Callable[[SampledTrace], Verdict]


class SamplingDecision(NamedTuple):
    """The decision about a trace, the rate that applied to it, and the reason."""

    kept: bool
    rate: float
    reason: str

    @property
    def says_anything(self) -> bool:
        """True if the trace might have been dropped, or was kept for a reason."""
        return self.reason != RATE or self.rate < 1.0

    @property
    def metadata(self) -> str:
        """JSON for the trace's metadata."""
        return json.dumps({"rate": self.rate, "reason": self.reason}, ensure_ascii=False)


#: The id of the trace that a function of the application is asked about in this context.
_asked: ContextVar[str | None] = ContextVar("pytest_langfuse_asked_about", default=None)


def asked_about(trace_id: int) -> bool:
    """Return whether this is called within a rule that decides about the trace: whoever asked that rule decides."""
    asked = _asked.get()
    return asked is not None and int(asked, 16) == trace_id


class SamplingRules:
    """Decides by `rules`, else by `rate`."""

    def __init__(self, rate: float, rules: Sequence[Rule] = ()) -> None:
        self.rate = rate
        self._rules = [(rule, _name_of(rule)) for rule in rules]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def decide(self, trace: SampledTrace, *, sampled: bool, ask_functions: bool = True) -> SamplingDecision:
        """Return the decision. `sampled` tells whether the caller has sampled the trace, if there is one.

        Functions of the application may take a lock or start a span: not with a lock of ours held, unless
        `ask_functions` is false. They are not asked about traces that a function makes: that would never end.

        Raises:
            BaseException: Ctrl-C, or the end of a greenlet, while a function ran; nothing that a function can mean.
        """
        ask_functions = ask_functions and _asked.get() is None
        for rule, name in self._rules:
            if not ask_functions and not isinstance(rule, SamplingRule):
                continue
            verdict = _verdict(rule, name, trace)
            if verdict is True:
                return SamplingDecision(kept=True, rate=1.0, reason=name)
            if verdict is not None:
                return self._by_rate(trace, float(verdict), name, sampled=sampled)
        return self._by_rate(trace, self.rate, RATE, sampled=sampled)

    def _by_rate(self, trace: SampledTrace, rate: float, reason: str, *, sampled: bool) -> SamplingDecision:
        return SamplingDecision(sampled and (int(trace.trace_id, 16) & ID_BITS) < bound_of(rate), rate, reason)


def _verdict(rule: Rule, name: str, trace: SampledTrace) -> Verdict:
    asked = _asked.set(trace.trace_id)
    try:
        verdict = rule(trace)
        return verdict if verdict is None else _rate(verdict)
    except Invalid as invalid:
        error = ValueError(f"it returned a value that {invalid.problem}. Allowed: {invalid.allowed}, True, False, None")
        failures.report(f"asking the sampling rule {name}", error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the application's function: the next rule decides
        failures.report(f"asking the sampling rule {name}", error)
    finally:
        _asked.reset(asked)
    return None


def _name_of(rule: Rule) -> str:
    if isinstance(rule, SamplingRule):
        conditions = {field: getattr(rule, field) for field in _CONDITIONS}
        given = [f"{field}={'|'.join(globs)}" for field, globs in conditions.items() if globs is not None]
        return rule.reason or " ".join(given) or RATE
    name = getattr(rule, "__name__", type(rule).__name__)
    return f"{name}()" if name in _RESERVED else str(name)


_ALLOWED = "SamplingRule(…), rates, and functions of a trace that return a rate, True, False or None"
_EXAMPLE = "(SamplingRule(True, user_id='vip-*'), SamplingRule(0.5, name='GET /items/*'))"


def _rules(value: Any) -> tuple[Rule, ...]:
    if callable(value):
        value = (value,)
    if isinstance(value, int | float):
        raise Invalid("is a single rate, which sample_rate is for", f"a list of {_ALLOWED}", _EXAMPLE, wrong_type=True)
    return tuple(_rule(item) for item in elements(value, "rules", f"a list of {_ALLOWED}", _EXAMPLE))


def _rule(item: Any) -> Rule:
    if isinstance(item, SamplingRule):
        return item
    if isinstance(item, Mapping):
        # From the variable.
        try:
            return SamplingRule(**item)
        except (TypeError, ValueError) as error:
            problem = f"has {shown(dict(item))}, which makes no rule ({_first_sentence(error)})"
    elif isinstance(item, int | float):
        try:
            return SamplingRule(_rate(item))
        except Invalid as invalid:
            problem = f"has {shown(item)}, which {invalid.problem}"
    elif inspect.iscoroutinefunction(item):
        problem = f"has {shown(item)}, which is a coroutine function"
    elif callable(item) and not isinstance(item, type):
        rule: Rule = item
        return rule
    else:
        problem = f"has {shown(item)}, which is not a rule"
    raise Invalid(problem, f"a list of {_ALLOWED}", _EXAMPLE)


def _first_sentence(error: Exception) -> str:
    return str(error).partition(". Allowed")[0].replace("SamplingRule.__init__()", "SamplingRule()")


_ALLOWED_JSON = (
    'a JSON list of rates and of objects with a "rate" (true, false or a number from 0 to 1) and, if needed, "name", '
    '"user_id", "session_id", "tag" and "reason"'
)
_EXAMPLE_JSON = """'[{"rate": true, "user_id": "vip-*"}, {"rate": 0.5, "name": "GET /items/*"}]'"""


class _RulesParser(Parser):
    """In a variable there are no functions, and what is allowed is told in JSON."""

    def of_text(self, text: str) -> Any:
        """See `Parser`."""
        try:
            return super().of_text(text)
        except Invalid as invalid:
            raise Invalid(invalid.problem, _ALLOWED_JSON, _EXAMPLE_JSON, wrong_type=invalid.wrong_type) from None


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except RecursionError as error:
        raise ValueError(value) from error


#: A list of rules; in a variable JSON: `[{"rate": true, "user_id": "vip-*"}, 0.1]`.
sampling_rules = _RulesParser(_rules, _read)
