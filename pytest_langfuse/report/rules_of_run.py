"""The rules that a run of pytest has selected by its options."""

from __future__ import annotations

import pytest

from pytest_langfuse.options import Options
from pytest_langfuse.report.redaction import Redaction
from pytest_langfuse.rules.rule_set import RuleSet, UnknownRule
from pytest_langfuse.rules.secrets.environment_keys import keys_of_environment

_REDACTION = pytest.StashKey[Redaction]()


def rule_set_of(options: Options) -> RuleSet:
    """Return the rules that a run has selected.

    Raises:
        pytest.UsageError: an ini option names a rule or an option that does not exist.
    """
    for name, select, ignore, settings in (
        ("langfuse_rules_select", options.rules_select, (), ()),
        ("langfuse_rules_ignore", (), options.rules_ignore, ()),
        ("langfuse_rules", (), (), options.rules),
    ):
        try:
            RuleSet.of(select, ignore, settings)
        except UnknownRule as error:
            raise pytest.UsageError(f"ini option {name}: {error}") from None
    return RuleSet.of(options.rules_select, options.rules_ignore, (*_defaults(options), *options.rules))


def redaction_of(config: pytest.Config, options: Options) -> Redaction:
    """Return what keeps secrets out of everything that is written about a run: one for all of it.

    Raises:
        pytest.UsageError: an ini option names a rule or an option that does not exist.
    """
    found = config.stash.get(_REDACTION, None)
    if found is None:
        # Without an option of rules there is no pattern, and the rules need not be imported.
        patterns = rule_set_of(options).own_patterns if options.rules else ()
        found = config.stash[_REDACTION] = Redaction(keys_of_environment(), patterns)
    return found


def _defaults(options: Options) -> tuple[str, ...]:
    """Return the options of rules that are those of the plugin, unless `langfuse_rules` sets them."""
    return (f"LF017.max_block={options.max_block!r}",)
