"""LF006: a generation or an embedding without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.rules.evidence import descendants
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.instrumentation import foreign_scope, is_of_langchain
from pytest_langfuse.rules.model_double import is_double
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence

MODEL_CALLS = ("generation", "embedding")


@rule("LF006", "no model", severity="warning", types=MODEL_CALLS)
def generation_without_model(observation: Observation, evidence: Evidence) -> Fact | None:
    """Langfuse computes no tokens and no cost of a generation whose model it does not know."""
    if observation.model or observation.level == "ERROR" or is_double(observation, in_test=evidence.is_live):
        return None
    if any(one.model and one.type in MODEL_CALLS for one in descendants(observation)):
        # `@observe(as_type="generation")` around a call that is traced itself.
        return None
    where = " where Langfuse looks for it" if foreign_scope(observation) else ""
    return Fact(
        f"{evidence.named(observation)} names no model{where}, so that Langfuse computes neither tokens nor cost of it",
        _fix(observation, evidence),
        observation,
    )


def _fix(observation: Observation, evidence: Evidence) -> str:
    if scope := foreign_scope(observation):
        return f"set gen_ai.request.model in the instrumentation {evidence.quoted(scope)}, or update that"
    if is_of_langchain(observation):
        return 'pass model="..." to the chat model'
    return 'pass model="...", when it is started or by update()'
