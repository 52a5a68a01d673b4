"""A selection of rules with their options, and what these find."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse import arguments
from pytest_langfuse.arguments import shown
from pytest_langfuse.options import number_in
from pytest_langfuse.recording.gc_pause import undisturbed
from pytest_langfuse.recording.observation import TYPES
from pytest_langfuse.rules.finding import Fact, Finding
from pytest_langfuse.rules.rule import Rule, all_rules
from pytest_langfuse.rules.secrets.own_pattern import BadPattern, OwnPattern, own_pattern
from pytest_langfuse.suggest import did_you_mean

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence

#: Selects every rule.
ALL = "ALL"
#: The rule whose option "pattern" has the patterns of a project's own secrets.
SECRETS: Final = "LF010"
#: A code that was shortened, such as LF6, 6 or LF-06.
_NUMBERED: Final = re.compile(r"(?:[A-Z]{1,2}[-_ ]?)?0*([1-9]\d{0,2})", re.ASCII)
_LABEL: Final = re.compile(r"[A-Za-z0-9][\w-]{0,63}")


class UnknownRule(ValueError):  # noqa: N818 - reads as what happened
    """A code or an option that no rule has."""


@dataclass(frozen=True)
class RuleSet:
    """Rules, and what a project has set for them.

    `strict_warnings` are warnings that count as errors, since they were selected by their codes.
    """

    rules: Sequence[Rule]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    strict_warnings: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, select: Iterable[str] | None = None, ignore: Iterable[str] = (), options: Iterable[str] = ()
    ) -> RuleSet:
        """Return the rules of the catalogue that `select` names, without those that `ignore` names.

        `None` selects all. `options` are like `LF017.max_block=2` and `LF010.pattern.NAME=REGULAR EXPRESSION`.

        Raises:
            UnknownRule: a code, an option or its value; the message suggests the nearest.
        """
        known = all_rules()
        chosen = dict(known) if select is None else {code: known[code] for code in codes(select)}
        for code in codes(ignore):
            chosen.pop(code, None)
        named = frozenset(codes(code for code in select or () if code.upper() != ALL))
        return cls(tuple(chosen[code] for code in sorted(chosen)), _options(options), named)

    def without(self, ignored: Collection[str]) -> RuleSet:
        """Return the set without the rules of these codes."""
        if not ignored:
            return self
        kept = tuple(rule for rule in self.rules if rule.code not in ignored)
        return RuleSet(kept, self.options, self.strict_warnings)

    def fails(self, finding: Finding) -> bool:
        """Return whether a finding fails its test in strict mode."""
        return finding.severity == "error" or finding.code in self.strict_warnings

    def fails_for(self, code: str) -> bool:
        """Return whether findings of a rule fail their tests in strict mode."""
        return code in self.strict_warnings or any(
            rule.code == code and rule.severity == "error" for rule in self.rules
        )

    @cached_property
    def _settings(self) -> Mapping[str, Mapping[str, Any]]:
        """The options of all rules: one may go by those of another, which need not be selected."""
        return {
            code: {**rule.options, **self.options.get(code, {})} for code, rule in all_rules().items() if rule.options
        }

    @property
    def own_patterns(self) -> Sequence[OwnPattern]:
        """The patterns of the project's own secrets."""
        patterns: Sequence[OwnPattern] = self._settings[SECRETS]["pattern"]
        return patterns

    @cached_property
    def _of_type(self) -> Mapping[str, Sequence[Rule]]:
        """The rules that look at observations, by the type of these; of another type, under the empty text."""
        each = [rule for rule in self.rules if rule.each == "observation"]
        return {kind: [rule for rule in each if not rule.types or kind in rule.types] for kind in (*TYPES, "")}

    def find(self, evidence: Evidence) -> list[Finding]:
        """Return what the rules find, in the order of their codes.

        Raises:
            UnknownRule: a pattern of the project takes too long.
        """
        evidence.own_patterns = self.own_patterns
        try:
            with undisturbed(len(evidence.observations)):
                facts = [*self._of_observations(evidence), *self._of_traces(evidence), *self._of_all(evidence)]
            facts.sort(key=lambda item: item[0].code)
            return [_finding(rule, fact, evidence) for rule, fact in facts]
        except BadPattern as error:
            raise UnknownRule(f"{SECRETS}: {error}") from None

    def _of_observations(self, evidence: Evidence) -> Iterator[tuple[Rule, Fact]]:
        settings, of_type = self._settings, self._of_type
        of_others = of_type[""]
        for one in evidence.observations:
            for rule in of_type.get(one.type, of_others):
                if rule.options:
                    evidence.options = settings[rule.code]
                if (found := rule.check(one, evidence)) is not None:
                    yield from _each(rule, found)

    def _of_traces(self, evidence: Evidence) -> Iterator[tuple[Rule, Fact]]:
        for rule in self.rules:
            if rule.each == "trace":
                evidence.options = self._settings.get(rule.code, {})
                for trace in evidence.traces:
                    if (found := rule.check(trace, evidence)) is not None:
                        yield from _each(rule, found)

    def _of_all(self, evidence: Evidence) -> Iterator[tuple[Rule, Fact]]:
        for rule in self.rules:
            if rule.each == "all":
                evidence.options = self._settings.get(rule.code, {})
                if (found := rule.check(evidence)) is not None:
                    yield from _each(rule, found)


#: Return the rules that the ini files of the running sessions have chosen; the innermost is the last.
_chosen: list[Callable[[], RuleSet]] = []


def choose(rules: Callable[[], RuleSet]) -> Callable[[], None]:
    """Make what `rules` returns the rules of the running session. Return a function that ends it."""
    _chosen.append(rules)
    return lambda: _chosen.remove(rules)


def chosen_rules() -> RuleSet:
    """Return the rules of the running session; all where it has chosen none, and outside of one."""
    found = _chosen[-1]() if _chosen else None
    return found if found is not None and found.rules else RuleSet.of()


def codes(given: Iterable[str]) -> Iterator[str]:
    """Yield the codes of rules; `ALL` stands for each.

    Raises:
        UnknownRule: one is not a rule's; the message suggests the nearest.
    """
    known = all_rules()
    for text in given:
        code = text.strip().upper()
        if code == ALL:
            yield from known
        elif code in known:
            yield code
        else:
            raise UnknownRule(no_rule(text, or_all=True))


def no_rule(text: str, *, or_all: bool = False) -> str:
    """Return the sentence about a text that is not the code of a rule; it suggests the rule of the same number."""
    known = all_rules()
    number = _NUMBERED.fullmatch(text.strip().upper())
    code = f"LF{int(number[1]):03}" if number is not None else ""
    hint = f", did you mean {code!r}?" if code in known else did_you_mean(text.strip(), [*known, *[ALL] * or_all])
    return f"{shown(text)} is not the code of a rule{hint}"


def ignored_codes(call: str, ignore: Any) -> frozenset[str]:
    """Return the codes in an argument `ignore` of `call`.

    Raises:
        TypeError: it is not a list of texts.
        ValueError: one is not the code of a rule; the message suggests the nearest.
    """
    __tracebackhide__ = True
    expected = "a list of codes, such as ['LF006']"
    given = list(arguments.elements(call, "ignore", ignore, expected))
    arguments.each(call, "ignore", given, lambda code: isinstance(code, str), expected)
    try:
        return frozenset(codes(given))
    except UnknownRule as error:
        raise ValueError(f"{call}(ignore=...): {error}") from None


def _options(given: Iterable[str]) -> dict[str, dict[str, Any]]:
    known = all_rules()
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        name, separator, value = text.partition("=")
        code, dot, option = name.strip().partition(".")
        code, (option, _, label) = code.upper(), option.strip().partition(".")
        if not separator or not dot:
            raise UnknownRule(f"{shown(text)} is not CODE.option=value, such as LF017.max_block=2")
        if code not in known:
            raise UnknownRule(f"{shown(text)}: {no_rule(code)}")
        options = known[code].options
        if option not in options:
            hint = did_you_mean(option, options, what="its options") if options else f"; {code} has no options"
            raise UnknownRule(f"{shown(text)}: {code} has no option {shown(option)}{hint}")
        of_rule = found.setdefault(code, {})
        if isinstance(options[option], tuple):
            before: tuple[OwnPattern, ...] = of_rule.get(option, ())
            of_rule[option] = (*before, _pattern(f"{code}.{option}", label, value.strip(), before))
        elif label:
            raise UnknownRule(f"{shown(text)}: {code}.{option} is a number, as in {code}.{option}=2")
        else:
            of_rule[option] = _number(text, value.strip())
    return found


def _number(text: str, value: str) -> float:
    number = number_in(value)
    if not 0 <= number < float("inf"):
        raise UnknownRule(f"{shown(text)}: {shown(value)} is not a number from 0 up")
    return number


def _pattern(option: str, label: str, value: str, before: Sequence[OwnPattern]) -> OwnPattern:
    if not _LABEL.fullmatch(label):
        raise UnknownRule(
            f"{option} needs a name of letters, digits, - and _, which findings show, as in "
            f"{option}.order-id=\\bORD-\\d{{6}}\\b, and not {shown(label)}"
        )
    if any(pattern.name == label for pattern in before):
        raise UnknownRule(f"{option}.{label} is there twice")
    try:
        return own_pattern(label, value)
    except BadPattern as error:
        raise UnknownRule(f"{option}.{label}: {error}") from None


def _each(rule: Rule, found: Fact | Sequence[Fact]) -> list[tuple[Rule, Fact]]:
    return [(rule, fact) for fact in ((found,) if isinstance(found, Fact) else found)]


def _finding(rule: Rule, fact: Fact, evidence: Evidence) -> Finding:
    about: Observation | None = fact.about
    place = fact.place or evidence.place_of(about)
    name, trace_id, id_ = ("", "", "") if about is None else (about.name, about.trace_id, about.id)
    # A name may hold a secret, whatever the rule is about.
    text, fix, name = (evidence.without_secrets(part) for part in (fact.text, fact.fix, name))
    return Finding(rule.code, rule.name, rule.severity, text, fix, name, place, trace_id, id_)
