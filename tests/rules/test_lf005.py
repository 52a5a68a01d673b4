"""LF005: a user or a session that a part of its trace lacks."""

from langfuse import propagate_attributes

USAGE = {"input": 10, "output": 2}


def llm(client, name="llm", **fields):
    client.start_observation(name=name, as_type="generation", model="gpt-4o", usage_details=USAGE, **fields).end()


def test_a_user_who_is_set_too_late(client, find):
    with client.start_as_current_observation(name="answer"):
        with propagate_attributes(user_id="u-1", session_id="s-1"):
            llm(client, "inside")
        llm(client, "outside")
        llm(client, "outside, too")
    user, session = sorted(find("LF005"), key=lambda one: one.text, reverse=True)
    assert user.severity == "error"
    assert user.observation == "outside"
    assert "(as 1 more) has no user, but its trace is of 'u-1': its tokens and cost are not counted" in user.text
    assert "has no session, but its trace is of 's-1'" in session.text
    assert session.fix == "call propagate_attributes(session_id=...) around the outermost observation"


def test_a_root_without_the_user_of_its_children(client, find):
    with client.start_as_current_observation(name="answer"):
        child = client.start_observation(name="step")
        child._otel_span.set_attribute("user.id", "u-1")
        child.end()
    (finding,) = find("LF005")
    assert finding.observation == "answer"
    assert "the root is not found by it" in finding.text


def test_cost_counts_as_usage_does(client, find):
    with client.start_as_current_observation(name="answer") as answer:
        answer._otel_span.set_attribute("user.id", "u-1")
        client.start_observation(name="llm", as_type="generation", cost_details={"total": 0.01}).end()
    assert [one.observation for one in find("LF005")] == ["llm"]


def test_only_what_has_cost_below_the_root(client, find):
    with client.start_as_current_observation(name="answer") as answer:
        answer._otel_span.set_attribute("user.id", "u-1")
        with client.start_as_current_observation(name="search", as_type="retriever"):
            pass
        client.start_observation(name="llm", as_type="generation", usage_details={"input": 0}).end()
    assert find("LF005") == []


def test_a_login_before_the_user_is_known(client, find):
    with client.start_as_current_observation(name="answer"):
        llm(client, "who is it")
        with propagate_attributes(user_id="u-1"):
            llm(client)
    assert find("LF005") == []


def test_a_conversation_of_a_framework_is_not_a_session(client, find):
    with client.start_as_current_observation(name="answer"):
        run = client.start_observation(name="agent run", as_type="agent")
        run._otel_span.set_attribute("gen_ai.conversation.id", "c-1")
        run.end()
        llm(client)
    assert find("LF005") == []


def test_nobody_and_everybody(client, find):
    with client.start_as_current_observation(name="guest"):
        llm(client)
    with propagate_attributes(user_id="u-1"), client.start_as_current_observation(name="answer"):
        llm(client)
    assert find("LF005") == []
