"""LF013: values that the application sets, and that never arrive."""

import enum
import math
import re
import sysconfig
from contextlib import ExitStack, suppress
from decimal import Decimal
from typing import Any

import pytest
from langfuse import get_client, observe, propagate_attributes
from langfuse._client import span as langfuse_span

from pytest_langfuse import Observations
from pytest_langfuse.report.amounts import total
from pytest_langfuse.rules.evidence import Evidence
from pytest_langfuse.rules.rule_set import RuleSet

#: As a text has that was cut in the middle of an emoji.
HALF = "caf\ud83d"
FULL = 200


def text_of(finding):
    """The text, with names in place of lines of this file."""
    return re.sub(r"tests/rules/test_lf013\.py:\d+", "HERE", finding.text)


# -- what is propagated ----------------------------------------------------------------------------------------------


def test_a_user_id_that_is_too_long(client, find):
    @observe()
    def answer(token):
        with propagate_attributes(user_id=token):
            return "Paris"

    answer("x" * 240)
    (finding,) = find("LF013")
    assert finding.severity == "error"
    assert text_of(finding) == (
        "propagate_attributes() (HERE) drops user_id, since it has 240 characters, and the SDK "
        "takes 200, so that 'answer' (HERE) and what is below has none"
    )
    assert finding.fix.startswith("pass an id or a short label")
    assert finding.place.line == answer.__wrapped__.__code__.co_firstlineno + 2
    assert finding.observation == "answer"


def test_outside_of_observations_there_is_none_to_name(client, find):
    with propagate_attributes(session_id="x" * 201), client.start_as_current_observation(name="answer"):
        pass
    (finding,) = find("LF013")
    assert text_of(finding).endswith("drops session_id, since it has 201 characters, and the SDK takes 200")
    assert finding.observation == ""


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"user_id": 42}, "drops user_id, since it is of the type int and not a string"),
        ({"tags": ["ok", "x" * 201]}, "drops tags, since it has 201 characters"),
        ({"tags": ("a", "b")}, "drops tags, since it is of the type tuple and not a string"),
        ({"trace_name": "x" * 201}, "drops trace_name, since it has 201 characters"),
        ({"metadata": {"prompt": "x" * 300}}, "drops metadata 'prompt', since it has 30"),
    ],
)
def test_what_the_sdk_does_not_propagate(client, find, values, expected):
    with client.start_as_current_observation(name="answer"), propagate_attributes(**values):
        pass
    (finding,) = find("LF013")
    assert expected in text_of(finding)


@pytest.mark.skipif(not hasattr(langfuse_span, "_warn_dropped_attributes"), reason="langfuse 5 has these arguments")
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"environment": "x" * 41}, "drops environment, since it has 41 characters, and the SDK takes 40"),
        ({"environment": "Production"}, "drops environment, since it has other characters than a to z"),
        ({"prompt": {"name": "greet"}}, "drops prompt, since it has no name and whole-numbered version"),
    ],
)
def test_what_langfuse_5_does_not_propagate(client, find, values, expected):
    with client.start_as_current_observation(name="answer"), propagate_attributes(**values):
        pass
    (finding,) = find("LF013")
    assert expected in text_of(finding)


def test_what_is_propagated(client, find):
    class Tier(enum.StrEnum):
        FREE = "free"

    everything = {"user_id": "x" * FULL, "session_id": "", "tags": [], "trace_name": Tier.FREE, "version": None}
    with propagate_attributes(**everything, metadata={"tenant": "acme", "plan": None}):
        client.start_observation(name="answer").end()
    assert find("LF013") == []


@pytest.mark.skipif(not hasattr(langfuse_span, "_warn_dropped_attributes"), reason="langfuse 5 has this argument")
def test_a_fallback_prompt_is_not_linked_on_purpose(client, find):
    prompt = {"name": "greet", "version": None, "is_fallback": True}
    with propagate_attributes(prompt=prompt), client.start_as_current_observation(name="answer"):
        pass
    assert find("LF013") == []


def test_metadata_that_a_framework_propagates(client, find, langfuse_spans):
    """LangChain's handler propagates all metadata of a run, which are on its observation, too."""
    runnables = pytest.importorskip("langchain_core.runnables")
    from langfuse.langchain import CallbackHandler

    chain = runnables.RunnableLambda(lambda text: text.upper())
    config = {"callbacks": [CallbackHandler(public_key="pk-lf-rules")], "metadata": {"document": "x" * 300}}
    assert chain.invoke("why?", config=config) == "WHY?"
    assert find("LF013") == []
    assert len(langfuse_spans) == 1


def test_a_user_that_a_framework_was_given(client, find):
    runnables = pytest.importorskip("langchain_core.runnables")
    from langfuse.langchain import CallbackHandler

    chain = runnables.RunnableLambda(lambda text: text.upper())
    config = {"callbacks": [CallbackHandler(public_key="pk-lf-rules")], "metadata": {"langfuse_user_id": "x" * 300}}
    chain.invoke("why?", config=config)
    (finding,) = find("LF013")
    assert "(HERE) drops user_id, since it has 300 characters" in text_of(finding)


def test_metadata_of_a_context_that_a_stack_enters(client, find):
    with ExitStack() as stack:
        stack.enter_context(propagate_attributes(metadata={"prompt": "x" * 300}))
    assert len(find("LF013")) == 1


# -- what a type has no field for --------------------------------------------------------------------------------------


def test_a_model_on_a_span(client, find):
    with client.start_as_current_observation(name="answer", model="gpt-4o", usage_details={"input": 3}):
        pass
    (finding,) = find("LF013")
    assert text_of(finding) == (
        "start_as_current_observation() (HERE) gives model= and usage_details= to 'answer' "
        "(HERE), and the SDK drops what a span has no field for"
    )
    assert finding.observation == "answer"


def test_a_model_on_other_types_and_in_other_calls(client, find):
    agent = client.start_observation(name="agent", as_type="agent", model="gpt-4o")
    agent.start_observation(name="search", as_type="tool", model="gpt-4o").end()
    with agent.start_as_current_observation(name="rank", as_type="chain", model="rank-3"):
        pass
    agent.update(output="Paris", model="gpt-4o")
    agent.end()
    assert [text_of(finding).split(", and the SDK drops ") for finding in find("LF013")] == [
        ["start_observation() (HERE) gives model= to 'agent' (HERE)", "what an agent has no field for"],
        ["start_observation() (HERE) gives model= to 'search' (HERE)", "what a tool has no field for"],
        ["start_as_current_observation() (HERE) gives model= to 'rank' (HERE)", "what a chain has no field for"],
        ["update() (HERE) gives model= to 'agent' (HERE)", "what an agent has no field for"],
    ]


def test_one_finding_for_a_loop(client, find):
    for _ in range(5):
        client.start_observation(name="answer", model="gpt-4o").end()
    assert len(find("LF013")) == 1


def test_generations_have_models(client, find):
    with client.start_as_current_observation(name="llm", as_type="generation", model="gpt-4o") as llm:
        llm.update(model="gpt-4o-mini", usage_details={"input": 1})
        llm.start_observation(name="embed", as_type="embedding", model="e-3").end()
    client.start_observation(name="answer", model=None).end()
    assert find("LF013") == []


@observe()
def observed():
    get_client(public_key="pk-lf-rules").update_current_generation(model="gpt-4o", usage_details={"input": 1})
    return "Paris"


def test_a_model_that_the_sdk_sends_of_a_span(client, find, langfuse_spans):
    observed()
    assert langfuse_spans.one("span observed").model == "gpt-4o"
    assert find("LF013") == []


def test_a_call_of_a_library_is_not_for_the_application_to_mend(client, find, langfuse_spans):
    text = "def call(client):\n    client.start_observation(name='answer', model='gpt-4o').update(usage={}).end()"
    library: dict[str, Any] = {}
    exec(compile(text, f"{sysconfig.get_path('purelib')}/acme/tracing.py", "exec"), library)
    library["call"](client)
    assert len(langfuse_spans) == 1
    assert find("LF013") == []


def test_what_the_sdk_propagates_of_an_experiment(client, find):
    """Version 4 drops long metadata of an item: the application has given them to the experiment, not to a trace."""
    item = {"input": "why?", "metadata": {"document": "x" * 300}}
    client.run_experiment(name="capitals", data=[item], task=lambda **_: "Paris")
    assert find("LF013") == []


# -- calls that do nothing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        ({"user_id": "u-1"}, "pass user_id= to propagate_attributes()"),
        ({"usage": {"input": 1}}, "pass usage_details="),
        ({"score": 1}, "pass it in metadata={...}"),
    ],
)
def test_arguments_that_update_ignores(client, find, arguments, fix):
    with client.start_as_current_observation(name="answer") as answer:
        answer.update(output="Paris", **arguments)
    (finding,) = find("LF013")
    assert f"ignores {next(iter(arguments))}= for 'answer'" in text_of(finding)
    assert finding.fix == fix


def test_an_update_after_the_end(client, find):
    with client.start_as_current_observation(name="answer") as answer:
        pass
    answer.update(output="Paris")
    (finding,) = find("LF013")
    assert text_of(finding).endswith("drops output=, since 'answer' (HERE) had ended before")
    assert finding.place.line == test_an_update_after_the_end.__code__.co_firstlineno + 3


def test_an_update_of_an_event(client, find):
    client.create_event(name="clicked").update(output="yes")
    (finding,) = find("LF013")
    assert text_of(finding).endswith("drops output=, since 'clicked' (HERE) is an event")


def test_updates_that_work_or_change_nothing(client, find):
    with client.start_as_current_observation(name="answer", as_type="agent") as answer:
        answer.update(name="reply", input="why?", output="Paris", metadata={"a": 1}, level="WARNING", model=None)
    answer.update()
    answer.update(output=None)
    assert find("LF013") == []


def test_an_observation_that_is_not_sampled_records_nothing(client, find, langfuse_fresh_client):
    off = langfuse_fresh_client(
        public_key="pk-lf-off", secret_key="sk-lf-off", base_url="http://127.0.0.1:9", sample_rate=0.0
    )
    with off.start_as_current_observation(name="answer") as answer:
        answer.update(output="Paris")
    assert find("LF013") == []


# -- what has no room, or can't be encoded -----------------------------------------------------------------------------


def test_more_attributes_than_a_span_holds(client, find):
    with client.start_as_current_observation(name="answer", metadata={f"key-{n}": n for n in range(200)}):
        pass
    (finding,) = find("LF013")
    assert text_of(finding).startswith("'answer' (HERE)")
    assert " loses " in text_of(finding)
    assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in finding.fix


@pytest.mark.skipif(not hasattr(langfuse_span, "_warn_dropped_attributes"), reason="langfuse 4 drops any")
def test_langfuse_5_says_which(client, find):
    with client.start_as_current_observation(name="answer", metadata={f"key-{n}": n for n in range(200)}):
        pass
    (finding,) = find("LF013")
    text = re.sub(r"\d+ more", "N more", re.sub(r"key-\d+", "KEY", text_of(finding)))
    keys = ", ".join(["metadata 'KEY'"] * 3)
    assert text == f"'answer' (HERE) loses {keys} and N more, since a span has at most 128 attributes"


def test_attributes_of_another_library(client, find, langfuse_spans):
    span = client._otel_tracer.start_span("other")
    for number in range(150):
        span.set_attribute(f"key-{number}", number)
    span.end()
    (finding,) = find("LF013")
    assert text_of(finding).endswith(f" loses {span.dropped_attributes} attributes, since a span has no room for more")


def test_as_many_attributes_as_a_span_holds(client, find):
    with client.start_as_current_observation(name="answer", metadata={f"key-{n}": n for n in range(100)}):
        pass
    assert find("LF013") == []


def test_texts_that_are_not_unicode(client, find):
    with client.start_as_current_observation(name="answer", input=HALF, output={"text": HALF}) as answer:
        answer._otel_span.set_attribute("big", 1 << 70)
    (finding,) = find("LF013")
    assert text_of(finding).startswith("input and big of 'answer' (HERE)")
    assert "are not sent, since OpenTelemetry can't encode lone surrogates" in text_of(finding)
    assert finding.fix == 'give it to text.encode(errors="replace").decode()'
    assert HALF.encode(errors="replace").decode() == "caf?"


@pytest.mark.parametrize("part", ["name", "status message"])
def test_a_name_or_message_that_takes_a_whole_export_with_it(client, find, part):
    with client.start_as_current_observation(name=HALF if part == "name" else "answer") as answer:
        if part == "status message":
            answer.update(level="ERROR", status_message=HALF)
    assert (
        len(texts := [text for finding in find("LF013") if (text := text_of(finding)).startswith(f"the {part} of ")])
        == 1
    )
    assert texts[0].endswith("its exporter loses all observations of the same export")


def test_an_exception_whose_message_is_not_unicode(client, find):
    with suppress(ValueError), client.start_as_current_observation(name="answer"):
        raise ValueError(f"unknown: {HALF}")
    # Its traceback quotes the message.
    assert [text_of(finding).split(" of 'answer'")[0] for finding in find("LF013")] == [
        "exception.message and exception.stacktrace",
        "the status message",
    ]


def test_the_name_of_an_event_that_is_not_unicode(client, find):
    span = client._otel_tracer.start_span("search")
    span.add_event(HALF)
    span.end()
    (finding,) = find("LF013")
    assert text_of(finding).startswith("the name of an event of 'search' (HERE) has lone surrogates")


def test_texts_that_are_unicode(client, find):
    with client.start_as_current_observation(name="café", input="☕", metadata={"ключ": "значение"}) as answer:
        answer.update(level="ERROR", status_message="schön")
        answer._otel_span.add_event("größer", {"größe": "ñ"})
    assert find("LF013") == []


def test_production_tracing_mends_them(client, find, langfuse_tracing, langfuse_spans):
    production = langfuse_tracing()
    with production.start_as_current_observation(name=HALF, input=HALF):
        pass
    assert len(langfuse_spans) == 1
    assert find("LF013") == []


# -- where nothing is known --------------------------------------------------------------------------------------------


def test_a_recorded_export_says_how_many_attributes_are_missing(client, langfuse_spans):
    span = client._otel_tracer.start_span("other")
    for number in range(150):
        span.set_attribute(f"key-{number}", number)
    span.end()
    (body,) = [wire.body for wire in langfuse_spans._source.wire()]
    recorded = Observations.from_otlp(body)
    (finding,) = RuleSet.of(["LF013"]).find(Evidence(list(recorded)))
    assert text_of(finding) == f"'other' loses {span.dropped_attributes} attributes, since a span has no room for more"


def test_a_whole_recorded_export(client, langfuse_spans):
    client.start_observation(name="answer", model="gpt-4o", input=HALF).end()
    (body,) = [wire.body for wire in langfuse_spans._source.wire()]
    assert RuleSet.of(["LF013"]).find(Evidence(list(Observations.from_otlp(body)))) == []


@pytest.mark.slow
def test_a_run_that_evaluates_rules(pytester):
    pytester.makepyfile(
        bot="""
            from langfuse import Langfuse, observe, propagate_attributes
            langfuse = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9")

            def answer(user):
                with propagate_attributes(user_id=user):
                    with langfuse.start_as_current_observation(name="answer", model="gpt-4o", input="why?") as answer:
                        answer.update(output="Paris")
        """,
        test_bot="""
            import bot
            def test_answer():
                bot.answer(42)
            def test_guest():
                bot.answer("u-1")
        """,
    )
    # In a process without what earlier tests have hooked.
    result = pytester.runpytest_subprocess("--langfuse-strict", "-p", "no:randomly", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*LF013 value lost: propagate_attributes() (bot.py:5) drops user_id, since it is of the type int *",
            "*LF013 value lost: start_as_current_observation() (bot.py:6) gives model= to 'answer' (bot.py:6), *",
        ]
    )


@pytest.mark.slow
def test_nothing_is_hooked_where_no_rules_are_evaluated(pytester):
    pytester.makepyfile(
        """
        from langfuse import Langfuse
        from pytest_langfuse.recording.sdk import hooks

        def test_it(langfuse_spans):
            assert not hasattr(Langfuse.start_observation, "_pytest_langfuse_hook")
            assert not hooks._sees_for_rules
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


# -- costs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "sent"),
    [
        ({"total": Decimal("0.1")}, "'<Decimal>'"),
        ({"total": float("nan")}, "'NaN'"),
        ({"total": float("inf")}, "'Infinity'"),
        ({"total": True}, "True"),
        ({"total": "cheap"}, "'cheap'"),
        ({"total": {"usd": 1}}, "{'usd': 1}"),
    ],
)
def test_a_cost_that_is_not_a_number(client, find, langfuse_spans, cost, sent):
    with client.start_as_current_observation(name="llm", as_type="generation", model="gpt-4o") as llm:
        llm.update(cost_details=cost)
    (finding,) = find("LF013")
    assert text_of(finding) == f"the cost 'total' of 'llm' (HERE) arrives as {sent}, which is not a number"
    assert finding.fix.startswith("pass numbers in cost_details=")
    # So no report counts it, either.
    assert math.isnan(total(langfuse_spans.one("generation llm").cost))


def test_one_of_several_costs_is_named(client, find):
    with client.start_as_current_observation(name="llm", as_type="generation") as llm:
        llm.update(cost_details={"input": 0.5, "output": Decimal("0.5")})
    (finding,) = find("LF013")
    assert text_of(finding).startswith("the cost 'output' of 'llm'")


@pytest.mark.parametrize(
    "cost", [{"total": 0}, {"total": "0.5"}, {"input": 1e-9, "output": None}, {"total": -5.0}, {}, None]
)
def test_costs_that_are_numbers_are_none_of_its_business(client, find, cost):
    with client.start_as_current_observation(name="llm", as_type="generation") as llm:
        llm.update(cost_details=cost)
    assert find("LF013") == []
