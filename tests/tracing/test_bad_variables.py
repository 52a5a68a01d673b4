"""An environment variable that can't be used is an error that names it, whichever of the variables it is."""

import pytest

from pytest_langfuse.tracing import get_langfuse_client, get_tracing_config
from pytest_langfuse.tracing.config import SETTINGS, TracingConfig
from pytest_langfuse.tracing.failures import failures
from tests.helpers.bad_input import SECRET, refusal

NUMBERS = ("x", "nan", "inf", "-inf", "1e999", "9" * 5000, "-1", "1,5", "5s", "٣x", "\x1b[31m1", SECRET)
COUNTS = (*NUMBERS, "0", "1.5")
SWITCHES = ("maybe", "2", "yess", "\x1b", SECRET)
KEYS = ("a b", "a\nb", "ä", "\x1b[31m")

#: Texts that each field refuses.
TEXTS = {
    "public_key": (*KEYS, SECRET, "a:b"),
    "secret_key": (*KEYS, "pk-lf-1"),
    "base_url": ("x", "ftp://x", "http://", "http://x:99999", "http://a..b", f"https://u:{SECRET}@x", "http://x\ny"),
    "environment": ("Prod", "langfuse-x", "a" * 5000, "a b", "a\nb", SECRET),
    "release": ("a\nb", "\x1b[31m", SECRET),
    "sample_rate": (*NUMBERS, "1.1"),
    "flush_interval": (*NUMBERS, "0"),
    "flush_at": COUNTS,
    "timeout": (*NUMBERS, "0"),
    "shutdown_timeout": NUMBERS,
    "max_buffer_spans": COUNTS,
    "max_buffer_bytes": (*COUNTS, "64MiB"),
    "spool_path": ("/nowhere/spool", "/", "x" * 5000, "~nobody-here/x"),
    "breaker_failure_threshold": COUNTS,
    "breaker_recovery_timeout": (*NUMBERS, "0"),
    "breaker_slow_call": (*NUMBERS, "0"),
    "export": ("htp", "HTTP", "grpc", "kafka,htp", "kafka,kafka", ",", SECRET),
    "kafka_brokers": ("x:99999", "http://x", "a b", ",", "a\nb"),
    "kafka_topic": ("a b", ".", "a/b", "a" * 5000, SECRET),
    "kafka_options": (
        "x", "{", "[]", "5", '{"message.max.bytes": "abc"}', '{"message.max.bytes": NaN}', '{"message.max.bytes": 1}',
        '{"linger.ms": Infinity}', '{"acks": 0}', '{"linger.ms": null}', '{"bootstrap.servers": "x:1"}', "[" * 5000,
    ),
    "sqs_queue_url": ("x", "ftp://x/q", "http://x", f"https://u:{SECRET}@x/q"),
    "export_scores": SWITCHES,
    "handle_signals": SWITCHES,
    "serverless": SWITCHES,
    "keep_errors": SWITCHES,
    "keep_slower_than": (*NUMBERS, "0"),
    "sampling": (
        "x", "[", "0.5", "{}", '["vip"]', "[2]", '[{"rate": 2}]', '[{"rate": 1, "nme": "x"}]', '[{"name": "x"}]',
        '[{"rate": 1, "name": 5}]', "[" * 5000, f'[{{"rate": 1, "reason": "{SECRET}"}}]',
    ),
    "trusted_request_headers": SWITCHES,
    "reparent_filtered": SWITCHES,
    "propagate_to": ("https://x", "a b", "x:99999", "[::x]", "a\nb"),
}  # fmt: skip
#: Variables with other units or another form: how a text is put into them, and what they refuse in its place.
FORMS = {
    "OTEL_RESOURCE_ATTRIBUTES": None,
    "OTEL_TRACES_SAMPLER": ("alway_on", "always-on", "traceidratoi", "parentbased_alwayson"),
    "OTEL_TRACES_SAMPLER_ARG": TEXTS["sample_rate"],
    "OTEL_BSP_SCHEDULE_DELAY": (*NUMBERS, "0", "0.5", "3600001"),
}
VARIABLES = [
    (name, field)
    for field, setting in SETTINGS.items()
    for name in dict.fromkeys((*setting.langfuse, *(name for name, _ in setting.otel)))
]


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("variable", "field"), VARIABLES)
def test_a_text_that_cannot_be_used_is_one_sentence_that_names_the_variable(monkeypatch, variable, field):
    if variable == "OTEL_TRACES_SAMPLER_ARG":
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    wrong = []
    for text in FORMS.get(variable) or TEXTS[field]:
        attribute = {"environment": "deployment.environment.name", "release": "service.version"}.get(field)
        value = f"a=b,{attribute}={text}" if variable == "OTEL_RESOURCE_ATTRIBUTES" else text
        monkeypatch.setenv(variable, value)
        for call in (get_tracing_config, get_langfuse_client):
            try:
                message = refusal(call, variable)
                assert message.startswith(variable)
                assert f"Fix: set {SETTINGS[field].langfuse[0]}" in message
            except (AssertionError, pytest.fail.Exception) as failure:
                wrong.append(f"{text[:20]!r}: {failure}")
    assert not wrong, "\n".join(wrong)


def test_every_field_is_tried():
    assert set(TEXTS) == set(SETTINGS)


def test_a_variable_is_told_in_its_own_unit(monkeypatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "0")
    assert refusal(get_tracing_config, "OTEL_BSP_SCHEDULE_DELAY") == (
        "OTEL_BSP_SCHEDULE_DELAY='0' is out of range. Allowed: a number from 1 to 3600000. "
        "Fix: set LANGFUSE_FLUSH_INTERVAL=5.0, which wins over OTEL_BSP_SCHEDULE_DELAY, or set "
        "OTEL_BSP_SCHEDULE_DELAY=5000."
    )


def test_a_misspelt_sampler_suggests_one(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always-off")
    assert "is not known (did you mean 'always_off'?)." in refusal(get_tracing_config, "OTEL_TRACES_SAMPLER")


@pytest.mark.parametrize("sampler", ["jaeger_remote", "parentbased_jaeger_remote", "xray", "my_company"])
def test_a_sampler_of_another_kind_says_nothing(monkeypatch, sampler):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    assert get_tracing_config().sample_rate == 1.0


def test_a_sampler_that_sets_no_rate_is_logged_once(monkeypatch, lines):
    failures.forget()
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "my_company")
    for _ in range(2):
        get_tracing_config()
    (line,) = lines()
    assert line == (
        "OTEL_TRACES_SAMPLER='my_company' does not set sample_rate: it is not a sampler of OpenTelemetry's "
        "specification. Fix: set LANGFUSE_SAMPLE_RATE."
    )
    failures.forget()
    TracingConfig(sample_rate=0.5)
    monkeypatch.setenv("LANGFUSE_SAMPLE_RATE", "0.5")
    get_tracing_config()
    monkeypatch.delenv("LANGFUSE_SAMPLE_RATE")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "xray")
    get_tracing_config()
    assert len(lines()) == 1


def test_the_attribute_is_named_that_is_meant(monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=1,deployment.environment=Prod")
    assert refusal(get_tracing_config, "OTEL_RESOURCE_ATTRIBUTES").startswith(
        "OTEL_RESOURCE_ATTRIBUTES: deployment.environment='Prod' is not the name of an environment."
    )
