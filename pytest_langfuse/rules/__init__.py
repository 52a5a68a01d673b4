"""Rules: what is wrong with a trace, found without an assertion.

`catalogue/` has a module a rule. `Evidence` is what they look at, made once for all of them; `RuleSet` is a selection
of rules with their options, and finds.
"""
