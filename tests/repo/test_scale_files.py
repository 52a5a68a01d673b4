"""The deployment files of docs/scale are what Kubernetes, the Collector and Prometheus take."""

import re

import pytest
import yaml

from tests.helpers.paths import DOCS

FOLDER = DOCS / "scale"

#: Keys of config.schema.yaml of each component: opentelemetry-collector-contrib, receiver/kafkareceiver (338a04e) and
#: pkg/kafka/configkafka (13ab5a4); opentelemetry-collector, exporter/otlphttpexporter (1f4355e), config/confighttp
#: (0459a1b), config/configretry (4000bf3). The nested ones that the file uses, after a dot.
RECEIVER = {
    "brokers", "client_id", "auth", "tls", "protocol_version", "metadata", "conn_idle_timeout", "rack_id",
    "group_id", "group_instance_id", "group_rebalance_strategies", "initial_offset", "session_timeout",
    "heartbeat_interval", "min_fetch_size", "max_fetch_size", "max_fetch_wait", "max_partition_fetch_size",
    "autocommit", "autocommit.enable", "autocommit.interval",
    "traces", "traces.topics", "traces.encoding", "traces.exclude_topics",
    "message_marking", "message_marking.after", "message_marking.on_error", "message_marking.on_permanent_error",
    "error_backoff", "header_extraction", "partition_processing", "telemetry",
}  # fmt: skip
BACK_OFF = {
    "enabled", "initial_interval", "max_interval", "max_elapsed_time", "max_retries", "multiplier",
    "randomization_factor",
}  # fmt: skip
RECEIVER |= {f"error_backoff.{key}" for key in BACK_OFF}
EXPORTER = {
    "traces_endpoint", "endpoint", "encoding", "headers", "timeout", "tls", "auth", "compression", "proxy_url",
    "retry_on_failure", "sending_queue", "sending_queue.enabled", "sending_queue.wait_for_result",
    *(f"retry_on_failure.{key}" for key in BACK_OFF),
}  # fmt: skip
DURATION = re.compile(r"\d+(ms|s|m|h)")


def documents(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def keys_of(settings, *, closed=("headers",)):
    for key, value in settings.items():
        yield key, value
        if isinstance(value, dict) and key not in closed:
            yield from ((f"{key}.{inner}", found) for inner, found in keys_of(value, closed=closed))


@pytest.mark.parametrize(
    ("kind", "component", "known"), [("receivers", "kafka", RECEIVER), ("exporters", "otlp_http", EXPORTER)]
)
def test_the_collector_knows_each_key(kind, component, known):
    [config] = documents("collector.yaml")
    settings = dict(keys_of(config[kind][component]))

    assert set(settings) <= known
    for key, value in settings.items():
        if key.endswith(("_interval", "_time", "timeout")):
            assert DURATION.fullmatch(value), key
        if key.endswith((".enabled", ".enable", ".after", ".on_error", ".on_permanent_error")):
            assert isinstance(value, bool), key
    assert config["service"]["pipelines"]["traces"][kind] == [component]


def test_the_collector_commits_after_the_answer():
    [config] = documents("collector.yaml")
    receiver, exporter = config["receivers"]["kafka"], config["exporters"]["otlp_http"]

    assert receiver["initial_offset"] == "earliest"
    assert receiver["message_marking"]["after"]
    assert not receiver["autocommit"]["enable"]
    assert not exporter["sending_queue"]["enabled"]
    assert all(isinstance(value, str) for value in exporter["headers"].values())


def test_kubernetes_takes_the_manifests():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    manifests = documents("forwarder.yaml")

    for manifest in manifests:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    assert [manifest["kind"] for manifest in manifests] == [
        "Secret",
        "Deployment",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
    ]


def test_the_manifest_calls_the_forwarder_as_it_is():
    from pytest_langfuse.tracing.forward.forward_options import OPTIONS

    [container] = documents("forwarder.yaml")[1]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["pytest-langfuse-forward"]
    names = {argument.removeprefix("--").partition("=")[0].replace("-", "_") for argument in container["args"]}
    assert names <= {name.removesuffix("_") for name in OPTIONS}


def test_alerts_name_metrics_that_there_are():
    [rules] = documents("alerts.yaml")
    text = "\n".join(rule["expr"] for group in rules["groups"] for rule in group["rules"])
    source = "\n".join(path.read_text() for path in (DOCS / "tracing.md", DOCS / "forwarder.md"))
    known = set(re.findall(r"langfuse_\w+", source))

    assert set(re.findall(r"langfuse_\w+", text)) <= known
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
            assert rule["expr"].count("(") == rule["expr"].count(")")
