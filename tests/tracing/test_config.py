"""Where settings come from, and what is said of those that can't be used."""

import dataclasses
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_langfuse.tracing import ConfigError, SamplingRule, TracingConfig, get_tracing_config
from pytest_langfuse.tracing.config import SETTINGS


def test_defaults_that_are_part_of_the_contract():
    config = TracingConfig()

    assert {name: getattr(config, name) for name in SETTINGS} == {
        "public_key": None,
        "secret_key": None,
        "base_url": None,
        "environment": "development",
        "release": None,
        "sample_rate": 1.0,
        "flush_interval": 1.0,
        "flush_at": 1,
        "timeout": 5.0,
        "shutdown_timeout": 5.0,
        "max_buffer_spans": 100_000,
        "max_buffer_bytes": 64 * 1024 * 1024,
        "spool_path": None,
        "breaker_failure_threshold": 10,
        "breaker_recovery_timeout": 300.0,
        "breaker_slow_call": None,
        "export": "http",
        "kafka_brokers": None,
        "kafka_topic": "langfuse_spans",
        "kafka_options": {},
        "sqs_queue_url": None,
        "export_scores": False,
        "handle_signals": True,
        "serverless": False,
        "keep_errors": True,
        "keep_slower_than": None,
        "sampling": (),
        "trusted_request_headers": False,
        "propagate_to": (),
        "reparent_filtered": True,
    }
    assert [field.name for field in dataclasses.fields(TracingConfig) if field.init] == list(SETTINGS)


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TracingConfig().flush_at = 3


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("development", (1.0, 1, 1.0)),
        ("staging", (5.0, 25, 0.5)),
        ("production", (10.0, 100, 0.1)),
        ("eu-west_1", (1.0, 1, 1.0)),
    ],
)
@pytest.mark.parametrize("build", [TracingConfig, get_tracing_config])
def test_presets(build, environment, expected):
    config = build(environment=environment)

    assert (config.flush_interval, config.flush_at, config.sample_rate) == expected
    assert config.environment == environment


def test_a_preset_never_asks_for_more_than_the_buffer_holds():
    assert TracingConfig(environment="production", max_buffer_spans=10).flush_at == 10


def test_argument_before_langfuse_before_opentelemetry_before_preset(monkeypatch):
    assert get_tracing_config(environment="staging").flush_at == 25

    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "30")
    assert get_tracing_config(environment="staging").flush_at == 30

    monkeypatch.setenv("LANGFUSE_FLUSH_AT", "40")
    assert get_tracing_config(environment="staging").flush_at == 40

    assert get_tracing_config(environment="staging", flush_at=50).flush_at == 50


VARIABLES = {
    "LANGFUSE_PUBLIC_KEY": ("pk-lf-1", "public_key", "pk-lf-1"),
    "LANGFUSE_SECRET_KEY": ("sk-lf-1", "secret_key", "sk-lf-1"),
    "LANGFUSE_BASE_URL": ("https://langfuse.example.com/", "base_url", "https://langfuse.example.com"),
    "LANGFUSE_HOST": ("https://old.example.com", "base_url", "https://old.example.com"),
    "LANGFUSE_TRACING_ENVIRONMENT": ("qa", "environment", "qa"),
    "LANGFUSE_RELEASE": ("1.2.3", "release", "1.2.3"),
    "LANGFUSE_SAMPLE_RATE": ("0.25", "sample_rate", 0.25),
    "LANGFUSE_FLUSH_INTERVAL": ("2.5", "flush_interval", 2.5),
    "LANGFUSE_FLUSH_AT": ("7", "flush_at", 7),
    "LANGFUSE_TIMEOUT": ("3", "timeout", 3.0),
    "LANGFUSE_SHUTDOWN_TIMEOUT": ("4", "shutdown_timeout", 4.0),
    "LANGFUSE_MAX_BUFFER_SPANS": ("500", "max_buffer_spans", 500),
    "LANGFUSE_MAX_BUFFER_BYTES": ("1000000", "max_buffer_bytes", 1_000_000),
    "LANGFUSE_SPOOL_PATH": ("/spool.sqlite", "spool_path", Path("/spool.sqlite")),
    "LANGFUSE_BREAKER_FAILURE_THRESHOLD": ("3", "breaker_failure_threshold", 3),
    "LANGFUSE_BREAKER_RECOVERY_TIMEOUT": ("30", "breaker_recovery_timeout", 30.0),
    "LANGFUSE_BREAKER_SLOW_CALL": ("2.5", "breaker_slow_call", 2.5),
    "LANGFUSE_EXPORT": ("http", "export", "http"),
    "LANGFUSE_KAFKA_BROKERS": ("kafka-1:9092, kafka-2", "kafka_brokers", "kafka-1:9092,kafka-2"),
    "LANGFUSE_KAFKA_TOPIC": ("spans.prod", "kafka_topic", "spans.prod"),
    "LANGFUSE_KAFKA_OPTIONS": ('{"linger.ms": 5}', "kafka_options", {"linger.ms": 5}),
    "LANGFUSE_SQS_QUEUE_URL": (
        "https://sqs.eu-west-1.amazonaws.com/1/q",
        "sqs_queue_url",
        "https://sqs.eu-west-1.amazonaws.com/1/q",
    ),
    "LANGFUSE_EXPORT_SCORES": ("on", "export_scores", True),
    "LANGFUSE_HANDLE_SIGNALS": ("off", "handle_signals", False),
    "LANGFUSE_SERVERLESS": ("on", "serverless", True),
    "LANGFUSE_KEEP_ERRORS": ("False", "keep_errors", False),
    "LANGFUSE_KEEP_SLOWER_THAN": ("2", "keep_slower_than", 2.0),
    "LANGFUSE_SAMPLING": ('[{"rate": 0.5, "tag": "x"}]', "sampling", (SamplingRule(0.5, tag="x"),)),
    "LANGFUSE_TRUSTED_REQUEST_HEADERS": ("yes", "trusted_request_headers", True),
    "LANGFUSE_PROPAGATE_TO": ("api.internal, *.svc:8080", "propagate_to", ("api.internal", "*.svc:8080")),
    "LANGFUSE_REPARENT_FILTERED": ("0", "reparent_filtered", False),
    "OTEL_BSP_SCHEDULE_DELAY": ("1500", "flush_interval", 1.5),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": ("64", "flush_at", 64),
    "OTEL_EXPORTER_OTLP_TIMEOUT": ("9", "timeout", 9.0),
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": ("8", "timeout", 8.0),
    "OTEL_TRACES_SAMPLER": ("always_off", "sample_rate", 0.0),
}


@pytest.mark.parametrize("variable", VARIABLES)
def test_each_variable(monkeypatch, variable):
    text, field, expected = VARIABLES[variable]
    monkeypatch.setenv(variable, text)

    assert getattr(get_tracing_config(), field) == expected


def test_every_field_has_a_variable_that_is_tested():
    assert {field for _, field, _ in VARIABLES.values()} == set(SETTINGS)


@pytest.mark.parametrize("variable", VARIABLES)
def test_an_empty_variable_counts_as_unset(monkeypatch, variable):
    expected = get_tracing_config()
    monkeypatch.setenv(variable, "  ")

    assert get_tracing_config() == expected


def test_resource_attributes_name_environment_and_release(monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=2.0%2B1,deployment.environment.name=staging,x=y")
    config = get_tracing_config()

    assert (config.environment, config.release, config.flush_at) == ("staging", "2.0+1", 25)


def test_the_older_name_of_the_environment_attribute(monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=qa")

    assert get_tracing_config().environment == "qa"


def test_a_sampler_argument_is_a_rate_only_for_ratio_samplers(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.2")
    assert get_tracing_config().sample_rate == 1.0

    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    assert get_tracing_config().sample_rate == 0.2


BAD = {
    "public_key": ["sk-lf-secret", "", 3],
    "secret_key": ["pk-lf-public", 3],
    "base_url": [
        "langfuse.example.com",
        "ftp://x",
        "https://",
        "https://u:p@x",
        "https://x?y=1",
        "http://x y",
        "http://x:0",
        3,
    ],
    "environment": ["Prod", "langfuse-x", "a" * 41, "", "a b", 3],
    "release": [3, " "],
    "sample_rate": [1.5, -0.1, "high", True, float("nan"), []],
    "flush_interval": [0, -1, "soon", float("inf")],
    "flush_at": [0, 1.5, "many", True],
    "timeout": [0, "x"],
    "shutdown_timeout": [-1, "x"],
    "max_buffer_spans": [0, "x"],
    "max_buffer_bytes": [0, "64MiB"],
    "spool_path": ["/nowhere/at/all/spool", "/tmp", 3],
    "breaker_failure_threshold": [0],
    "breaker_recovery_timeout": [0],
    "breaker_slow_call": [0, -1, "x", 3601],
    "export": ["grpc", 1, ("kafka", "kafka")],
    "kafka_brokers": ["kafka:0", 1],
    "kafka_topic": ["a b", 1],
    "sqs_queue_url": ["https://sqs.example.com", 1],
    "export_scores": ["x", 2],
    "handle_signals": ["maybe", 2],
    "serverless": ["maybe", 2],
    "keep_errors": ["x"],
    "keep_slower_than": [0, "x"],
    "sampling": [3, "x", 0.5, {}, [2.0], ["vip"]],
    "trusted_request_headers": ["x"],
    "propagate_to": [["https://x"], ["a b"], 3],
    "reparent_filtered": ["x", 2],
}


#: Its values are never shown.
BAD_OPTIONS = ['{"linger.ms": null}']
MASKED = {"sk-lf-secret": "'***'", "https://u:p@x": "'https://***@x'"}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in BAD.items() for value in values])
@pytest.mark.parametrize("build", [TracingConfig, get_tracing_config])
def test_a_bad_argument_is_named_with_its_value_what_is_allowed_and_the_fix(build, field, value):
    with pytest.raises(ConfigError) as error:
        build(**{field: value})

    message = str(error.value)
    shown = "***" if field == "secret_key" else MASKED.get(str(value), repr(value))
    assert message.startswith(f"{field}={shown} ")
    assert " Allowed: " in message
    assert " Fix: " in message
    assert len(message.splitlines()) == 1


BAD_TEXT = [
    (variable, texts[0])
    for variable, (_, field, _) in VARIABLES.items()
    if variable != "OTEL_TRACES_SAMPLER"
    for texts in [[text for text in BAD.get(field, BAD_OPTIONS) if isinstance(text, str) and text.strip()]]
    if texts
]


@pytest.mark.parametrize(("variable", "text"), BAD_TEXT)
def test_a_bad_variable_is_named_not_the_field(monkeypatch, variable, text):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError) as error:
        get_tracing_config()

    message = str(error.value)
    assert message.startswith(f"{variable}=")
    assert " Fix: set LANGFUSE_" in message
    assert len(message.splitlines()) == 1


def test_an_opentelemetry_variable_that_does_not_fit_can_be_overruled(monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=Production")
    with pytest.raises(ConfigError, match=r"LANGFUSE_TRACING_ENVIRONMENT=.* which wins over OTEL_RESOURCE_ATTRIBUTES"):
        get_tracing_config()

    monkeypatch.setenv("LANGFUSE_TRACING_ENVIRONMENT", "production")
    assert get_tracing_config().environment == "production"


def test_all_bad_values_are_told_at_once(monkeypatch):
    monkeypatch.setenv("LANGFUSE_TIMEOUT", "never")
    monkeypatch.setenv("LANGFUSE_FLUSH_AT", "0")
    with pytest.raises(ConfigError) as error:
        get_tracing_config(sample_rate=7)

    assert [line.split("=")[0] for line in str(error.value).splitlines()] == [
        "LANGFUSE_FLUSH_AT",
        "LANGFUSE_TIMEOUT",
        "sample_rate",
    ]


@pytest.mark.parametrize("secret", ["sk-lf-very-secret", "pk-lf-not-the-secret"])
def test_a_secret_is_never_shown(monkeypatch, secret):
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", secret)
    try:
        shown = repr(get_tracing_config()) + str(get_tracing_config())
    except ConfigError as error:
        shown = repr(error) + str(error)

    assert secret not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    ("variable", "text", "shown"),
    [
        ("LANGFUSE_PUBLIC_KEY", "sk-lf-hunter2", "LANGFUSE_PUBLIC_KEY='***' looks like a secret key"),
        ("LANGFUSE_BASE_URL", "https://me:hunter2@host", "LANGFUSE_BASE_URL='https://***@host' has more than host"),
        ("LANGFUSE_BASE_URL", "https://host/?key=sk-lf-hunter2", "LANGFUSE_BASE_URL='https://host/?key=***' has more"),
        (
            "LANGFUSE_TRACING_ENVIRONMENT",
            "sk-lf-HUNTER2",
            "LANGFUSE_TRACING_ENVIRONMENT='***' is not the name of an environment",
        ),
    ],
)
def test_nor_is_one_in_the_wrong_place(monkeypatch, variable, text, shown):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError) as error:
        get_tracing_config()
    assert str(error.value).startswith(shown)
    with pytest.raises(ConfigError) as error:
        get_tracing_config(**{VARIABLES[variable][1]: text})
    assert "hunter2" not in str(error.value).lower()


@pytest.mark.parametrize("text", ["", "two", "-1"])
def test_a_number_that_only_the_sdk_reads(monkeypatch, text):
    monkeypatch.setenv("LANGFUSE_MEDIA_UPLOAD_THREAD_COUNT", text)
    with pytest.raises(ConfigError, match=rf"^LANGFUSE_MEDIA_UPLOAD_THREAD_COUNT='{text}' is .* Fix: set LANGFUSE_"):
        get_tracing_config()


def test_hosts_of_a_variable_are_shown_as_it_takes_them(monkeypatch):
    monkeypatch.setenv("LANGFUSE_PROPAGATE_TO", "a b")
    with pytest.raises(ConfigError, match=r"Fix: set LANGFUSE_PROPAGATE_TO='\*.internal.example.com,orders'"):
        get_tracing_config()


def test_keys_that_are_the_same():
    with pytest.raises(ConfigError, match="public_key and secret_key are the same"):
        TracingConfig(public_key="key", secret_key="key")


def test_more_at_once_than_the_buffer_holds():
    with pytest.raises(ConfigError, match=r"flush_at=11 exceeds the size of the buffer.*max_buffer_spans=10"):
        TracingConfig(flush_at=11, max_buffer_spans=10)


@pytest.mark.parametrize(
    ("keyword", "hint"), [("sample_rte", "did you mean 'sample_rate'?"), ("colour", "settings are: public_key,")]
)
def test_a_wrong_keyword_suggests(keyword, hint):
    with pytest.raises(TypeError) as error:
        get_tracing_config(**{keyword: 1})

    assert isinstance(error.value, ConfigError)
    assert f"unknown setting {keyword!r}, {hint}" in str(error.value)


@given(st.text(min_size=1, max_size=60))
def test_an_environment_is_taken_if_and_only_if_langfuse_takes_it(name):
    theirs = pytest.importorskip("langfuse._client.propagation")
    if not hasattr(theirs, "_validate_environment_value"):
        pytest.skip("this SDK has no such rule")

    try:
        taken = TracingConfig(environment=name).environment
    except ConfigError:
        taken = None

    assert taken == theirs._validate_environment_value(value=name)


@given(st.floats() | st.integers() | st.text())
def test_a_sample_rate_is_a_share_or_an_error(value):
    try:
        config = TracingConfig(sample_rate=value)
    except ConfigError:
        return
    assert 0.0 <= config.sample_rate <= 1.0


@pytest.mark.parametrize(("export", "needed"), [("kafka", "kafka_brokers"), (("http", "sqs"), "sqs_queue_url")])
def test_a_queue_needs_its_address(monkeypatch, export, needed):
    with pytest.raises(ConfigError, match=rf"needs {needed}\. Fix: set LANGFUSE_{needed.upper()}="):
        get_tracing_config(export=export)

    texts = {"kafka_brokers": "kafka:9092", "sqs_queue_url": "https://sqs.eu-west-1.amazonaws.com/1/q"}
    monkeypatch.setenv(f"LANGFUSE_{needed.upper()}", texts[needed])
    assert getattr(get_tracing_config(export=export), needed) == texts[needed]
    # What the environment lacks may still come from a variable when tracing starts.
    assert needed in TracingConfig(export=export).unset


@pytest.mark.parametrize("value", ["kafka, http", ("kafka", "http"), ["kafka", "http"]])
def test_a_failover_is_a_second_export(monkeypatch, value):
    monkeypatch.setenv("LANGFUSE_KAFKA_BROKERS", "kafka:9092")
    if isinstance(value, str):
        monkeypatch.setenv("LANGFUSE_EXPORT", value)
        config = get_tracing_config()
    else:
        config = get_tracing_config(export=value)

    assert config.export == config.exports == ("kafka", "http")


def test_values_of_kafka_options_are_not_shown():
    config = TracingConfig(kafka_options={"sasl.password": "hidden-value", "linger.ms": 5})

    assert "kafka_options={'sasl.password': ***, 'linger.ms': ***}" in repr(config)
    assert "hidden-value" not in repr(config)


@pytest.mark.parametrize("field", sorted(SETTINGS.keys() - {"propagate_to", "sampling"}))
def test_the_fix_for_a_variable_is_what_a_shell_can_assign(monkeypatch, field):
    setting = SETTINGS[field]
    if field == "spool_path":
        monkeypatch.setattr(Path, "is_dir", lambda path: not path.suffix)
    (text,) = shlex.split(setting.example)

    assert setting.parse.of_text(text) is not None


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ("kafka,http", "pass export=('kafka', 'http')"),
        (" Kafka, HTTP,", "pass export=('kafka', 'http')"),
        (("KAFKA", "htp"), "pass export=('kafka', 'http')"),
        ("KAFKA", "pass export='kafka'"),
        ("kafka,kafka", "pass export=('kafka',)"),
    ],
)
def test_an_export_that_was_meant_is_suggested(given, fix):
    with pytest.raises(ConfigError) as error:
        get_tracing_config(export=given)
    assert str(error.value).endswith(f"Fix: {fix}.")


def test_exports_in_a_variable(monkeypatch):
    monkeypatch.setenv("LANGFUSE_KAFKA_BROKERS", "kafka:9092")
    monkeypatch.setenv("LANGFUSE_EXPORT", "kafka, http,")
    assert get_tracing_config().export == ("kafka", "http")
    monkeypatch.setenv("LANGFUSE_EXPORT", "KAFKA,HTTP")
    with pytest.raises(ConfigError, match=r"did you mean 'kafka'\?.* Fix: set LANGFUSE_EXPORT=kafka,http\."):
        get_tracing_config()


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({"LANGFUSE_EXPORT": "kafka", "LANGFUSE_KAFKA_BROKERS": "a b:1"}, "LANGFUSE_KAFKA_BROKERS='a b:1' has "),
        ({"LANGFUSE_EXPORT": "sqs", "LANGFUSE_SQS_QUEUE_URL": "x"}, "LANGFUSE_SQS_QUEUE_URL='x' is "),
        ({"LANGFUSE_MAX_BUFFER_SPANS": "x", "LANGFUSE_FLUSH_AT": "200000"}, "LANGFUSE_MAX_BUFFER_SPANS='x' is "),
    ],
)
def test_one_mistake_is_one_error(monkeypatch, variables, error):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as raised:
        get_tracing_config()
    (line,) = str(raised.value).splitlines()
    assert line.startswith(error)
