"""LF011: an id or a number in the name of an observation."""

import pytest
from opentelemetry import trace

UUID = "7c1e5b2a-94d3-4f68-b0a7-e2d95c3f8146"


@pytest.mark.parametrize("name", [f"order {UUID}", "job-3f2b8c1e7d644f0a", "user_1048576", "run 00000000000000ab"])
def test_an_id(client, find, name):
    client.start_observation(name=name).end()
    (finding,) = find("LF011")
    assert finding.severity == "warning"
    assert finding.observation == name
    assert "holds an id" in finding.text


def test_numbers_of_one_place(client, find):
    for turn in range(4):
        client.start_observation(name=f"turn {turn}").end()
    (finding,) = find("LF011")
    assert finding.text.startswith("the name of 'turn 0' (tests/rules/test_lf011.py:20), and 3 more like it, holds a n")


def test_ids_of_one_place_are_one_finding(client, find):
    for number in range(2):
        client.start_observation(name=f"order {UUID[:-1]}{number}").end()
    (finding,) = find("LF011")
    assert ", and one more like it, holds an id" in finding.text


@pytest.mark.parametrize(
    "name",
    [
        "answer",
        "turn 2",
        "gpt-4o-2024-08-06",
        "claude-3-5-sonnet-20241022",
        "GET /orders/{id}",
        "deadbeefdeadbeefs",
        "accessed-facade-decade-feed",
        "top 10000",
    ],
)
def test_a_name(client, find, name):
    client.start_observation(name=name).end()
    assert find("LF011") == []


def test_two_numbers_or_other_places(client, find):
    for turn in range(2):
        client.start_observation(name=f"turn {turn}").end()
    client.start_observation(name="turn 3").end()
    client.start_observation(name="turn 4").end()
    assert find("LF011") == []


def test_the_same_name_again_and_again(client, find):
    for _ in range(5):
        client.start_observation(name="step 1").end()
    assert find("LF011") == []


def test_names_of_a_framework(client, find, langfuse_spans):
    trace.get_tracer("openinference.instrumentation.crewai").start_span(f"Crew_{UUID}.kickoff").end()
    assert find("LF011") == []
    assert len(langfuse_spans) == 1
