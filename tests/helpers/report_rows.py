"""Lines of a run, as `--langfuse-json` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: 2026-11-27 12:00 UTC in microseconds since 1970.
NOON = 1_795_780_800_000_000
TRACE = "0af7651916cd43dd8448eb211c80319c"


def run_row(**fields: Any) -> dict[str, Any]:
    return {
        "kind": "run",
        "schema": 1,
        "version": "0.1.0",
        "started": "2026-11-27T12:00:00+00:00",
        "duration": 12.3,
        "faults": [],
        "command": "tests -k answer",
        "exit_status": 1,
        **fields,
    }


def case_row(test: str = "tests/test_shop.py::test_answer", **fields: Any) -> dict[str, Any]:
    """The line of a test."""
    return {
        "kind": "test",
        "test": test,
        "fault": None,
        "outcome": "passed",
        "duration": 0.04,
        "message": "",
        "failure": "",
        "observations": 0,
        "generations": 0,
        "errors": 0,
        "tokens": None,
        "cost": None,
        "cost_estimated": False,
        "models": [],
        "unended": 0,
        "lost": 0,
        "traces": [TRACE],
        "difference": None,
        "outage": None,
        "health": None,
        "missing": None,
        "degraded": None,
        "blocked": None,
        "blocked_seconds": 0.0,
        **fields,
    }


def observation_row(number: int, parent: int | None = None, **fields: Any) -> dict[str, Any]:
    """The line of an observation, which starts 1 ms after the one before it."""
    return {
        "kind": "observation",
        "test": "tests/test_shop.py::test_answer",
        "fault": None,
        "trace": TRACE,
        "id": f"{number:016x}",
        "parent": None if parent is None else f"{parent:016x}",
        "name": f"step {number}",
        "type": "span",
        "level": "DEFAULT",
        "status": "",
        "start": NOON + 1_000 * number,
        "duration": 0.005,
        "input": None,
        "output": None,
        "metadata": {},
        "model": "",
        "model_parameters": {},
        "usage": {},
        "cost": {},
        "cost_estimated": False,
        "user": "",
        "session": "",
        "tags": [],
        "environment": "default",
        "version": "",
        "release": "",
        "prompt": "",
        "trace_name": "",
        "process": "",
        "thread": "",
        "place": "",
        "exported": True,
        "reason": "",
        "detail": "",
        "attributes": {},
        **fields,
    }


def score_row(observation: int | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "score",
        "test": "tests/test_shop.py::test_answer",
        "fault": None,
        "trace": TRACE,
        "observation": None if observation is None else f"{observation:016x}",
        "session": None,
        "name": "good",
        "value": 0.5,
        "data_type": "NUMERIC",
        "comment": "",
        **fields,
    }


def finding_row(observation: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "finding",
        "test": "tests/test_shop.py::test_answer",
        "fault": None,
        "code": "LF006",
        "rule": "generation without model",
        "severity": "warning",
        "text": "generation llm has no model",
        "fix": "pass model= to the generation",
        "observation": "llm",
        "file": "shop/app.py",
        "line": 12,
        "function": "answer",
        "known": False,
        "trace": TRACE,
        "id": f"{observation:016x}",
        **fields,
    }


def comparison_row(**fields: Any) -> dict[str, Any]:
    """The line of a test that has changed since an earlier run."""
    figures = {"tokens": 21, "cost": 0.0004, "cost_estimated": False, "duration": 0.04, "models": ["gpt-4o-mini"]}
    return {
        "kind": "comparison",
        "test": "tests/test_shop.py::test_answer",
        "fault": None,
        "was": None,
        "before": {**figures, "tokens": 10, "models": ["gpt-4o"], "observations": 5},
        "after": {**figures, "observations": 6},
        "changes": ["tokens 10 -> 21 (+110%)", "models gpt-4o -> gpt-4o-mini"],
        "sentences": ["search: parent is answer, expected llm"],
        "exceeded": ["tokens 10 -> 21 (+110%), 10% allowed"],
        "difference": _difference(),
        **fields,
    }


def compared(**fields: Any) -> dict[str, Any]:
    """What the line of a run says that was compared with an earlier one."""
    sentence = "1 of 2 tests changed, 1 new, 1 did not run; tokens 10 -> 21 (+110%)"
    new = ["tests/test_shop.py::test_other", None]
    return {
        "with": "main.jsonl",
        "sentence": sentence,
        "exceeded": 1,
        "added": [new],
        "missing": ["tests/test_shop.py::test_gone"],
        **fields,
    }


def compared_run() -> Iterator[dict[str, Any]]:
    """A run that was compared with an earlier one."""
    yield run_row(compared=compared())
    yield case_row(observations=3, tokens=21, cost=0.0004, models=["gpt-4o-mini"])
    yield observation_row(0, name="answer", type="agent")
    yield observation_row(1, 0, name="search", type="retriever")
    yield observation_row(2, 0, name="llm", type="generation", model="gpt-4o-mini")
    yield comparison_row()
    yield case_row("tests/test_shop.py::test_other")
    yield case_row("tests/test_shop.py::test_renamed")
    yield comparison_row(
        test="tests/test_shop.py::test_renamed",
        was="tests/test_shop.py::test_old",
        changes=[],
        sentences=[],
        exceeded=[],
        difference=None,
    )


def shop_run() -> Iterator[dict[str, Any]]:
    """A run with one of everything: a failed assertion, an outage, three processes, what never was exported."""
    test = "tests/test_shop.py::test_answer"
    yield run_row()
    yield case_row(
        outcome="failed",
        message="TreeMismatch: 2 differences",
        failure="2 differences (- expected, + captured):\n\n- llm model=gpt-4o\n+ llm model=gpt-4o-mini",
        observations=4,
        tokens=21,
        cost=0.0004,
        models=["gpt-4o-mini"],
        difference=_difference(),
    )
    chat = {
        "messages": [
            {"role": "system", "content": "You are a shop."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": PIXEL}},
                ],
            },
        ]
    }
    yield observation_row(0, name="answer", type="agent", user="u-1", session="s-1", input="why?", output="because")
    yield observation_row(1, 0, name="search", type="retriever", process="python search.py (pid 12)")
    yield observation_row(
        2,
        0,
        name="llm",
        type="generation",
        model="gpt-4o-mini",
        model_parameters={"temperature": 0.5},
        usage={"input": 12, "output": 9},
        cost={"total": 0.0004},
        input=chat,
        output={"role": "assistant", "content": "A pixel."},
        metadata={"tenant": {"name": "acme", "tags": ["a", "b"]}},
        attributes={"gen_ai.system": "openai"},
        prompt="shop v3",
    )
    yield observation_row(
        3, 1, name="rank", type="tool", level="ERROR", status="timeout", process="node rank.js (pid 13)", thread="main"
    )
    yield observation_row(4, 0, name="GET /x", exported=False, reason="filtered", detail="default span filter")
    yield observation_row(5, 0, name="store", exported=False, reason="lost", detail="the process was killed")
    yield observation_row(6, 0, name="open", duration=None, exported=False, reason="never ended")
    yield score_row(2, comment="as asked")
    yield finding_row(2)
    for fault, degraded in (("hang", "waited 5.9 s for Langfuse, 1 s is allowed"), ("http_503", None)):
        yield case_row(
            test,
            fault=fault,
            observations=1,
            duration=6.3,
            degraded=degraded,
            blocked="in flush() at shop/app.py:14" if degraded else None,
            blocked_seconds=5.9 if degraded else 0.0,
            lost=1 if degraded else 0,
            outage=_outage(fault),
            health={"breaker": "open", "ended": 1, "exported": 0, "dropped": {"refused": 2}, "last_success": 0.0005},
            healthy_outcome="passed",
        )
        yield observation_row(7, name="answer", fault=fault, start=NOON + 200_000)
    yield case_row("tests/test_shop.py::test_other", models=["gpt-4o"])


#: A PNG of one pixel.
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def _difference() -> dict[str, Any]:
    def cell(
        text: str, state: str = "same", observation: int | None = None, number: int | None = None
    ) -> dict[str, Any]:
        id_ = None if observation is None else f"{observation:016x}"
        return {"text": text, "state": state, "observation": id_, "number": number}

    return {
        "expected": [
            cell("agent answer", observation=0),
            cell("  generation llm model=gpt-4o", "changed", 2, 1),
            cell("    retriever search", "moved", 1, 2),
            None,
        ],
        "captured": [
            cell("agent answer", observation=0),
            cell("  generation llm model=gpt-4o-mini", "changed", 2, 1),
            None,
            cell("  retriever search", "moved", 1, 2),
        ],
        "sentence": "2 differences",
        "sentences": ["llm: model is 'gpt-4o-mini', expected 'gpt-4o'", "search: parent is answer, expected llm"],
    }


def _outage(fault: str) -> dict[str, Any]:
    return {
        "faults": [fault],
        "begun": NOON,
        "ended": NOON + 6_000_000,
        "attempts": 3,
        "refused": 3,
        "requests": [
            {"start": NOON + 300_000 + 2_000_000 * number, "duration": 1.0, "path": "/api/public/otel", "result": fault}
            for number in range(3)
        ],
        "breaker": [
            {"at": NOON + 3_300_000, "route": "http", "before": "closed", "state": "open"},
            {"at": NOON + 5_000_000, "route": "http", "before": "open", "state": "half_open"},
        ],
        "health": [
            {"at": NOON + 210_000, "ended": 1, "exported": 0, "buffered": 1, "dropped": 0},
            {"at": NOON + 5_900_000, "ended": 3, "exported": 0, "buffered": 1, "dropped": 2},
        ],
    }
