"""Whole traces over three services, sampled by two forwarders of which one is killed on the way."""

import math
import random
import time

import pytest
from confluent_kafka import Producer

from pytest_langfuse.tracing.forward.decision_topic import DecisionTopic
from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog
from tests.helpers.trace_messages import MadeSpan, body_of, sampling_in

SERVICES = ("web", "agent", "store")
PARTITIONS = 4
HEADERS = {"x-langfuse-public-key": "pk-lf-test"}


#: Traces that are dropped; their time decides the others.
TICKS = [f"{number}" * 16 + "f" * 16 for number in range(PARTITIONS)]


class Traffic:
    """Traces of three services, of which some fail in one of them."""

    def __init__(self, traces, errors):
        rng = random.Random(traces)
        self.ids = [f"{rng.getrandbits(128):032x}" for _ in range(traces)]
        self.errors = {trace: rng.choice(SERVICES) for trace in rng.sample(self.ids, errors)}

    def send(self, broker, topic, traces, at):
        """Send traces whose services are five seconds apart by the broker's time, and then let a minute pass there."""
        producer = Producer({"bootstrap.servers": broker.address, "acks": "all", "log_level": 0})

        def send(trace, body, seconds, **options):
            producer.produce(topic, body, key=trace, headers=HEADERS, timestamp=int((at + seconds) * 1000), **options)
            producer.poll(0)

        for number, service in enumerate(SERVICES):
            for trace in traces:
                send(trace, self.body(trace, service), 5.0 * number)
        for number in range(PARTITIONS):
            send(TICKS[number], body_of(MadeSpan("tick", TICKS[number])), 60.0, partition=number)
        assert producer.flush(60) == 0

    def body(self, trace, service):
        failed = self.errors.get(trace) == service
        spans = [
            MadeSpan(f"{trace}.{service}.1", trace, is_root=service == "web"),
            MadeSpan(f"{trace}.{service}.2", trace),
        ]
        return body_of(*(span._replace(failed=failed) for span in spans))

    def spans_of(self, trace):
        return {f"{trace}.{service}.{number}" for service in SERVICES for number in (1, 2)}


@pytest.mark.slow
@pytest.mark.parametrize(("traces", "errors"), [(1_500, 30), pytest.param(20_000, 200, marks=pytest.mark.exhaustive)])
@pytest.mark.long
def test_each_error_is_whole_and_no_trace_is_in_part(broker, collector, forwarder_process, traces, errors):
    topic = f"sampled-{traces}"
    broker.create_topic(topic, partitions=PARTITIONS)
    traffic = Traffic(traces, errors)
    arguments = (
        "--from", f"kafka://{broker.address}/{topic}?group=g", "--to", collector.url, "--sample", "0.1",
        "--keep-errors", "--decision-wait", "30",
    )  # fmt: skip
    first = forwarder_process(*arguments)
    second = forwarder_process(*arguments)
    half = traces // 2
    at = time.time() - 600.0
    traffic.send(broker, topic, traffic.ids[:half], at)
    # Some of these are decided, some are not.
    collector.wait_for(lambda: len(collector.accepted) > half // 20, timeout=60)
    first.process.kill()
    traffic.send(broker, topic, traffic.ids[half:], at + 120)
    wanted = set().union(*(traffic.spans_of(trace) for trace in traffic.errors))
    collector.wait_for(lambda: set(collector.accepted) >= wanted, timeout=120)
    kept_by_id = [trace for trace in traffic.ids if int(trace[16:], 16) < round(0.1 * 2**64)]
    expected = wanted.union(*(traffic.spans_of(trace) for trace in kept_by_id))
    collector.wait_for(lambda: set(collector.accepted) >= expected, timeout=60)
    second.process.terminate()
    assert second.wait() == 0, second.raw

    # Nothing else, so no trace is there in part.
    assert set(collector.accepted) == expected
    assert abs(len(kept_by_id) - 0.1 * traces) <= 3 * math.sqrt(0.09 * traces)
    # What was undecided or on the wire at the kill comes at most twice.
    assert max(collector.accepted.count(name) for name in wanted) <= 2
    metadata = {}
    for export in collector.exports:
        metadata.update(
            {name: found for name, found in sampling_in(export.body).items() if found or name not in metadata}
        )
    for trace in traffic.errors:
        assert metadata[f"{trace}.web.1"] == {"rate": 0.1, "reason": "error"}
    assert {name for name, it in metadata.items() if it} == {name for name in expected if name.endswith("web.1")}
    decisions = DecisionTopic(topic, {"bootstrap.servers": broker.address}, "test", RepeatedLog())
    found = {trace: one for them in decisions.read(range(PARTITIONS)).values() for trace, one in them.items()}
    assert {trace for trace, decision in found.items() if decision.kept} == {*traffic.errors, *kept_by_id}


@pytest.mark.slow
def test_a_queue_without_traces_by_key_can_not_be_sampled(forwarder_process):
    process = forwarder_process("--from", "sqs://sqs.eu-central-1.amazonaws.com/1/q", "--sample", "0.1")
    assert process.wait() == 2
    process.end()
    (line,) = process.raw
    assert line == (
        "pytest-langfuse-forward: error: --sample needs Kafka: an SQS queue gives the spans of a trace to different "
        "forwarders. Fix: leave --sample out, and set sample_rate in the applications.\n"
    )
