"""The command line: help, bad input, variables."""

import json
import re
import shlex

import pytest

from pytest_langfuse.tracing.forward.forward_command import main
from pytest_langfuse.tracing.forward.forward_options import OPTIONS, BadOption, read_options, variable_of
from pytest_langfuse.tracing.forward.undecided_traces import TracePolicy
from tests.helpers.forwarding import KEYS

FROM = "kafka://kafka-1:9092/spans?group=g"


def options(*arguments, **variables):
    return read_options(arguments, {**KEYS, **variables})


def refusal(*arguments, keys=KEYS, **variables):
    with pytest.raises(BadOption) as raised:
        read_options(arguments, {**keys, **variables})
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    assert "hunter2" not in message
    return message


def test_each_option_has_a_variable_and_a_line_of_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in OPTIONS:
        assert f"--{name.replace('_', '-')}" in text
        assert f"[{variable_of(name)}]" in text
    # Each example of the help is one that runs.
    help_text = text.partition("examples: ")[2]
    commands = re.findall(
        r"pytest-langfuse-forward (--from [^ ]+(?: --[a-z-]+(?: https://[^ ]+| [\d.]+)?)*)", help_text
    )
    assert len(commands) == 6
    for command in commands:
        # `?` is a pattern for a shell.
        assert ("?" in command) == ("'" in command)
        assert "langfuse" in options(*shlex.split(command)).address[-1 if "sqs:" in command else 1]


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("from", "kafka://a,b:9093/t", "address", ("a,b:9093", "t", "pytest-langfuse-forward")),
        ("from", "sqs://a.example/1/q", "address", ("https://a.example/1/q",)),
        ("from", "sqs+https://a.example/1/q.fifo", "address", ("https://a.example/1/q.fifo",)),
        ("from", "sqs+http://127.0.0.1:4566/1/q", "address", ("http://127.0.0.1:4566/1/q",)),
        ("from", "kafka://[::1]:9092/a.b-c_d?group=my%20group", "address", ("[::1]:9092", "a.b-c_d", "my group")),
        ("to", "https://langfuse.example.com/", "base_url", "https://langfuse.example.com"),
        ("http", ":8080", "http", ("", 8080)),
        ("http", "[::1]:0", "http", ("::1", 0)),
        ("requests", "9", "requests", 9),
        ("timeout", "2.5", "timeout", 2.5),
        ("max_bytes", "1000", "max_bytes", 1000),
        ("stop_timeout", "0", "stop_timeout", 0.0),
        ("compression", "gzip", "compress", True),
        ("kafka_options", '{"security.protocol": "ssl"}', "kafka_options", {"security.protocol": "ssl"}),
    ],
)
def test_an_option_or_its_variable(name, text, field, value):
    arguments = () if name == "from" else ("--from", FROM)
    flag = f"--{name.replace('_', '-')}"
    assert getattr(options(*arguments, flag, text), field) == value
    assert getattr(options(*arguments, **{variable_of(name): text}), field) == value
    # The command line wins.
    assert getattr(options(*arguments, flag, text, **{variable_of(name): "nonsense"}), field) == value


@pytest.mark.parametrize("name", ["once", "dry_run"])
def test_a_switch_or_its_variable(name):
    assert not getattr(options("--from", FROM), name)
    assert getattr(options("--from", FROM, f"--{name.replace('_', '-')}"), name)
    assert getattr(options("--from", FROM, **{variable_of(name): "yes"}), name)
    assert not getattr(options("--from", FROM, **{variable_of(name): "0"}), name)


def test_sampling():
    assert options("--from", FROM).sampling is None
    assert options("--from", FROM, "--keep-errors", "--sample", "1").sampling is None
    assert options("--from", FROM, "--sample", "0.1").sampling == TracePolicy(0.1, False, None, 30.0, 300.0)
    given = {"SAMPLE": "0.2", "KEEP_ERRORS": "true", "KEEP_SLOWER_THAN": "5", "DECISION_WAIT": "60"}
    variables = {f"LANGFUSE_FORWARD_{name}": text for name, text in given.items()}
    assert options("--from", FROM, **variables).sampling == TracePolicy(0.2, True, 5.0, 60.0, 600.0)


@pytest.mark.parametrize(
    ("arguments", "variables", "place"),
    [
        (["--keep-errors"], {}, "--keep-errors"),
        (["--keep-slower-than", "5"], {}, "--keep-slower-than"),
        (["--decision-wait", "30"], {}, "--decision-wait"),
        ([], {"LANGFUSE_FORWARD_KEEP_ERRORS": "true"}, "LANGFUSE_FORWARD_KEEP_ERRORS"),
        ([], {"LANGFUSE_FORWARD_DECISION_WAIT": "5"}, "LANGFUSE_FORWARD_DECISION_WAIT"),
    ],
)
def test_options_that_do_nothing(arguments, variables, place):
    assert refusal("--from", FROM, *arguments, **variables) == (
        f"{place} does nothing without --sample: all is forwarded. Fix: add --sample 0.1 "
        f"(LANGFUSE_FORWARD_SAMPLE=0.1), or leave {place} out."
    )
    assert refusal("--from", "sqs://a.example/1/q", *arguments, **variables) == (
        f"{place} needs Kafka: an SQS queue gives the spans of a trace to different forwarders. Fix: leave "
        f"{place} out, and set sample_rate in the applications."
    )


def test_a_switch_that_is_off_and_a_rate_of_1_do_no_harm():
    assert options("--from", FROM, LANGFUSE_FORWARD_KEEP_ERRORS="false").sampling is None
    assert options("--from", "sqs://a.example/1/q", LANGFUSE_FORWARD_SAMPLE="1").sampling is None
    assert options("--from", "sqs://a.example/1/q", "--kafka-options", "{}").kafka_options == {}


def test_options_of_another_queue():
    secret = '{"sasl.password": "hunter2"}'
    for arguments, variables, place in (
        (("--kafka-options", secret), {}, "--kafka-options"),
        ((), {"LANGFUSE_FORWARD_KAFKA_OPTIONS": secret}, "LANGFUSE_FORWARD_KAFKA_OPTIONS"),
    ):
        assert refusal("--from", "sqs://a.example/1/q", *arguments, **variables) == (
            f"{place} is for Kafka, and --from is an SQS queue. Fix: leave it out; boto3 has variables of its "
            "own, such as AWS_REGION."
        )


@pytest.mark.parametrize("text", ["1.1", "-1", "nan", "x", ""])
@pytest.mark.parametrize("flag", ["--sample", "--keep-slower-than", "--decision-wait"])
def test_numbers_of_sampling_that_can_not_be_used(flag, text):
    if flag == "--sample" or text != "1.1":
        assert refusal("--from", FROM, "--sample", "0.1", flag, text).startswith(f"{flag} {text!r} is ")


def test_the_address_of_langfuse_is_the_one_of_the_sdk():
    assert options("--from", FROM).base_url == "https://cloud.langfuse.com"
    assert options("--from", FROM, LANGFUSE_BASE_URL="http://a").base_url == "http://a"
    assert options("--from", FROM, LANGFUSE_BASE_URL="http://a", LANGFUSE_FORWARD_TO="http://b").base_url == "http://b"


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (
            (),
            {},
            (
                "--from is missing. Fix: --from 'kafka://kafka-1:9092,kafka-2:9092/langfuse_spans?group=langfuse', "
                "or set LANGFUSE_FORWARD_FROM."
            ),
        ),
        (
            ("--from", "amqp://x/y"),
            {},
            (
                "--from 'amqp://x/y' does not begin with kafka:// or sqs://. Allowed: "
                "kafka://HOST:PORT[,HOST:PORT…]/TOPIC?group=NAME or sqs://HOST/ACCOUNT/NAME. Fix: --from 'kafka://kafka-1:9092,kafka-2:9092/langfuse_spans?group=langfuse'."
            ),
        ),
        (
            ("--from", FROM),
            {"LANGFUSE_FORWARD_HTTP": "8080"},
            (
                "LANGFUSE_FORWARD_HTTP='8080' is not HOST:PORT. Allowed: HOST:PORT, or :PORT for all interfaces. "
                "Fix: LANGFUSE_FORWARD_HTTP=0.0.0.0:8080."
            ),
        ),
        (
            ("--from", FROM, "--kafka-options", '{"group.id": "sk-lf-hunter2"}'),
            {},
            (
                "--kafka-options *** has 'group.id', which the forwarder sets itself. Allowed: a JSON object of "
                'librdkafka\'s options. Fix: --kafka-options \'{"security.protocol": "ssl"}\'.'
            ),
        ),
        (("--form", FROM), {}, "unrecognized arguments: --form " + FROM + " (see pytest-langfuse-forward --help)"),
    ],
)
def test_bad_input_is_one_line(arguments, variables, message):
    assert refusal(*arguments, **variables) == message


@pytest.mark.parametrize(
    "address",
    [
        "kafka:///t",
        "kafka://a:0/t",
        "kafka://a:66000/t",
        "kafka://a:x/t",
        "kafka://,/t",
        "kafka://user:sk-lf-hunter2@a/t",
        "kafka://a/",
        "kafka://a/..",
        "kafka://a/t/u",
        "kafka://a/t u",
        "kafka://a/t?gruop=g",
        "kafka://a/t?group=",
        "kafka://a/t?group=a&group=b",
        "kafka://a/t#x",
        "kafka://[/t",
        "sqs://",
        "sqs://sqs.eu-west-1.amazonaws.com",
        "sqs+http://user:sk-lf-hunter2@a/1/q",
        "sqs+ftp://a/1/q",
        "sqs:a/1/q",
        "kafka://" + "a" * 300 + "/" + "t" * 300,
    ],
)
def test_bad_addresses(address):
    assert refusal("--from", address).startswith("--from '")


@pytest.mark.parametrize(
    ("flag", "texts"),
    [
        ("--to", ["", "langfuse", "ftp://x", "http://sk-lf-hunter2@host"]),
        ("--requests", ["0", "x", "1.5"]),
        ("--timeout", ["0", "nan", "x"]),
        ("--max-bytes", ["0", "1k"]),
        ("--stop-timeout", ["-1", "inf"]),
        ("--compression", ["zip", ""]),
        ("--http", ["", "host", "host:", "host:70000", "a b:1"]),
        ("--kafka-options", ["", "x", "[]", '{"a": null}', '{"a": {}}', '{"bootstrap.servers": "x"}']),
        ("--projects", ["", "/nonexistent/projects.json"]),
    ],
)
def test_bad_values(flag, texts):
    for text in texts:
        assert refusal("--from", FROM, flag, text).startswith(f"{flag}"), text


def test_keys():
    assert refusal("--from", FROM, keys={}) == (
        "there are no keys. Fix: set LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY, or give --projects."
    )
    assert refusal("--from", FROM, keys={"LANGFUSE_PUBLIC_KEY": "pk-lf-a"}) == (
        "LANGFUSE_SECRET_KEY is missing: both keys of a project belong together. Fix: set it."
    )
    assert refusal("--from", FROM, keys={"LANGFUSE_PUBLIC_KEY": "sk-lf-a", "LANGFUSE_SECRET_KEY": "x"}) == (
        "LANGFUSE_PUBLIC_KEY='***' looks like a secret key. Allowed: the public key of a project."
    )
    assert "are the same" in refusal("--from", FROM, keys=dict.fromkeys(KEYS, "same"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON: Expecting property name enclosed in double quotes in line 1"),
        ("[]", 'is not a JSON object such as {"pk-lf-...": "sk-lf-..."}'),
        ('{"sk-lf-1": "pk-lf-1"}', "entry 1 looks like a secret key; allowed: the public key of a project"),
        ('{"pk-lf-1": "sk-lf-1", "pk-lf-2": 5}', "entry 2 is not a key; allowed: the secret key of a project"),
        ('{"pk-lf-1": "sk-lf-1", "pk-lf-1": "sk-lf-2"}', "has the key 'pk-lf-1' twice"),
        ('{"pk-lf-1": "sk-lf-1", "pk-lf-1\\n": "sk-lf-2"}', "has the key 'pk-lf-1' twice"),
        ('{"pk-lf-1": "sk-lf-1\\nx"}', "entry 1 has characters that no key has; allowed: the secret key of a project"),
        ('{"pk-lf-test": "sk-lf-x"}', "has another secret key for pk-lf-test than LANGFUSE_SECRET_KEY"),
    ],
)
def test_bad_projects(tmp_path, text, message):
    path = tmp_path / "projects.json"
    path.write_text(text)
    refused = refusal("--from", FROM, "--projects", str(path))
    assert refused.startswith("--projects: ")
    assert message in refused


def test_projects(tmp_path):
    path = tmp_path / "projects.json"
    path.write_text(json.dumps({"pk-lf-a": "sk-lf-aaa\n", "pk-lf-test": "sk-lf-test"}))
    projects = options("--from", FROM, "--projects", str(path)).projects
    assert projects.of("pk-lf-a") == ("pk-lf-a", "sk-lf-aaa")
    assert projects.of("") == projects.of("pk-lf-test") == ("pk-lf-test", "sk-lf-test")
    assert projects.of("pk-lf-b") is None


def test_the_status_is_2_and_the_line_is_on_stderr(capsys, monkeypatch):
    monkeypatch.setenv("LANGFUSE_FORWARD_FROM", "kafka://")
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pytest-langfuse-forward: error: LANGFUSE_FORWARD_FROM='kafka://' has no broker")
    assert len(err.splitlines()) == 1


def test_without_the_extra(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    assert main(["--from", FROM]) == 2
    assert capsys.readouterr().err == (
        "pytest-langfuse-forward: error: kafka:// needs confluent-kafka. Fix: pip install 'pytest-langfuse[kafka]'.\n"
    )
    assert main(["--from", "sqs://a.example/1/q"]) == 2
    assert capsys.readouterr().err == (
        "pytest-langfuse-forward: error: sqs:// needs boto3. Fix: pip install 'pytest-langfuse[sqs]'.\n"
    )
