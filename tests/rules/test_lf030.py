"""LF030: two users or two sessions in one trace."""

from langfuse import propagate_attributes
from opentelemetry import trace as otel_trace


def reply(client, user: str, session: str = "s-1") -> None:
    with propagate_attributes(user_id=user, session_id=session), client.start_as_current_observation(name=f"to {user}"):
        client.start_observation(name="llm", as_type="generation", model="gpt-4o").end()


def test_a_batch_of_users_below_one_observation(client, find):
    with client.start_as_current_observation(name="batch"):
        for user in ("u-1", "u-2", "u-3"):
            reply(client, user)
    (finding,) = find("LF030")
    # The observation around them has the first one's user: the SDK sets it on the current one, too.
    assert finding.text.startswith("one trace has 3 users: 'batch' (tests/rules/test_lf030.py:13) is of 'u-")
    assert (
        finding.fix
        == "start a trace for each user, with propagate_attributes(user_id=...) around its outermost observation"
    )


def test_two_sessions(client, find):
    with client.start_as_current_observation(name="batch"):
        reply(client, "u-1", "s-1")
        reply(client, "u-1", "s-2")
    (finding,) = find("LF030")
    assert finding.text.startswith("one trace has two sessions: ")


def test_silent_for_a_trace_each(client, find, langfuse_spans):
    for user in ("u-1", "u-2"):
        reply(client, user, f"session of {user}")
    assert len(langfuse_spans.traces) == 2
    assert find("LF030") == []


def test_silent_for_conversations_of_an_agent_framework(client, find, langfuse_spans):
    """As pydantic-ai's, which makes an id for each run."""
    tracer = otel_trace.get_tracer("pydantic-ai")
    with propagate_attributes(session_id="s-1"), client.start_as_current_observation(name="answer"):
        for number in range(2):
            attributes = {"gen_ai.conversation.id": f"run {number}", "gen_ai.operation.name": "invoke_agent"}
            tracer.start_span("invoke_agent", attributes=attributes).end()
    assert len(langfuse_spans) == 3
    assert find("LF030") == []


def test_silent_where_the_user_is_known_late(client, find, langfuse_spans):
    with client.start_as_current_observation(name="answer"):
        client.start_observation(name="log in").end()
        reply(client, "u-1")
    assert len(langfuse_spans) == 4
    assert find("LF030") == []


def test_a_session_that_a_library_takes_of_its_own_run(client, find):
    """As OpenInference records Google ADK, with the session of ADK's session service."""
    adk = "openinference.instrumentation.google_adk"
    with propagate_attributes(session_id="s-1"), client.start_as_current_observation(name="answer"):
        run = otel_trace.get_tracer(adk).start_span("invocation [app]", attributes={"openinference.span.kind": "CHAIN"})
        run.set_attribute("session.id", "0fdbfe6e")
        run.end()
    (finding,) = find("LF030")
    assert finding.fix == f"make 's-1' the session for the library of {adk!r}, too, which takes sessions of its own"


def test_two_sessions_of_one_library(client, find):
    tracer = otel_trace.get_tracer("strands.telemetry.tracer")
    with tracer.start_as_current_span("invoke_agent", attributes={"gen_ai.system": "strands-agents"}) as run:
        run.set_attribute("session.id", "s-1")
        tracer.start_span("chat", attributes={"gen_ai.system": "strands-agents", "session.id": "s-2"}).end()
    (finding,) = find("LF030")
    assert finding.fix.startswith("start a trace for each session")
