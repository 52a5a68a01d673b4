"""`init_tracing` tells of settings with which a forwarder that samples can't keep whole traces."""

import pytest

from pytest_langfuse.tracing import SamplingRule, TracingConfig, get_tracing_config, init_tracing
from pytest_langfuse.tracing.double_sampling import doubts

KAFKA = {"kafka_brokers": "127.0.0.1:1"}
BOTH = {**KAFKA, "export": ("kafka", "http")}
ONE = {**KAFKA, "export": "kafka"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({**BOTH, "sample_rate": 0.1}, ["sample_rate=0.1", "('kafka', 'http')", "--sample", "export='kafka'"]),
        ({**BOTH, "sample_rate": 1.0, "sampling": [SamplingRule(0.5)]}, ["sampling="]),
        ({**ONE, "environment": "production"}, ["sample_rate=0.1, the preset of 'production',", "'kafka'"]),
        ({"export": "sqs", "sqs_queue_url": "https://a.example/1/q", "environment": "staging"}, ["sample_rate=0.5"]),
    ],
)
def test_what_may_be_sampled_twice(settings, words):
    (line,) = doubts(get_tracing_config(**settings))
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    "settings",
    [
        {"environment": "production"},
        {**ONE, "sample_rate": 1.0},
        # It was decided.
        {**ONE, "sample_rate": 0.1, "environment": "production"},
        {**BOTH, "sample_rate": 1.0},
        {**ONE},
    ],
)
def test_what_is_not_in_doubt(settings):
    assert list(doubts(get_tracing_config(**settings))) == []


def test_a_forwarder_that_is_known_to_sample(monkeypatch):
    monkeypatch.setenv("LANGFUSE_FORWARD_SAMPLE", "0.1")
    first, second = doubts(get_tracing_config(**BOTH, sample_rate=0.5))
    assert "both rates multiply" in first
    assert "LANGFUSE_FORWARD_SAMPLE=0.1" in first
    assert "Fix: export='kafka', with a spool_path for outages." in second
    (only,) = doubts(get_tracing_config(**ONE, sample_rate=0.5))
    assert only.startswith("sample_rate=0.5 and export='kafka'")
    assert list(doubts(get_tracing_config(**ONE, sample_rate=1.0))) == []


@pytest.mark.parametrize("rate", ["1", "1.0"])
def test_a_forwarder_that_is_known_not_to(monkeypatch, rate):
    monkeypatch.setenv("LANGFUSE_FORWARD_SAMPLE", rate)
    assert list(doubts(get_tracing_config(**BOTH, sample_rate=0.5))) == []


@pytest.mark.parametrize("settings", [{}, ONE, BOTH])
@pytest.mark.parametrize(
    ("rate", "problem"), [("a tenth", "is not a number"), ("nan", "is out of range"), ("10", "is out of range")]
)
def test_a_rate_that_can_not_be_read(monkeypatch, rate, problem, settings):
    monkeypatch.setenv("LANGFUSE_FORWARD_SAMPLE", rate)
    (line,) = doubts(TracingConfig(**settings, sample_rate=1.0))
    assert line == (
        f"LANGFUSE_FORWARD_SAMPLE={rate!r} {problem}, so it is not known whether the forwarder samples. Allowed: a "
        "number from 0 to 1. Fix: set it to what the forwarder has as --sample, or unset it."
    )


def test_http_before_the_queue(monkeypatch):
    first = {**KAFKA, "export": ("http", "kafka")}
    (line,) = doubts(get_tracing_config(**first, sample_rate=0.1))
    assert "export='kafka' here" in line
    assert list(doubts(get_tracing_config(**first, sample_rate=1.0))) == []
    monkeypatch.setenv("LANGFUSE_FORWARD_SAMPLE", "0.1")
    (line,) = doubts(get_tracing_config(**first, sample_rate=1.0))
    assert line == (
        "export=('http', 'kafka'), while the forwarder samples (LANGFUSE_FORWARD_SAMPLE=0.1): what goes by HTTP is not "
        "sampled, so that traces are kept in part. Fix: export='kafka', with a spool_path for outages."
    )


def test_it_is_logged_once(fresh, keys, lines):
    for _ in range(2):
        init_tracing(**keys, **BOTH, sample_rate=0.1)
    assert len([line for line in lines() if "both rates multiply" in line]) == 1
