"""What goes out with a request, and what is made of what comes in with one."""

import http.client
import io
import random
import string

import httpx
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from langfuse import propagate_attributes
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from requests.structures import CaseInsensitiveDict

from pytest_langfuse.tracing import (
    extract_context,
    get_langfuse_client,
    get_request_context,
    init_tracing,
    inject_headers,
    request_context,
    shutdown_tracing,
)
from pytest_langfuse.tracing.failures import failures

OURS = "http://orders.example.com/items"
ELSEWHERE = "https://api.openai.example/v1"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def client(fresh, keys):
    failures.forget()
    # No export is tried twice, however slow the machine is.
    yield init_tracing(**keys, propagate_to=("orders.example.com",), timeout=60.0)
    assert failures.total == 0


@pytest.fixture
def attach():
    tokens = []
    yield lambda context: tokens.append(otel_context.attach(context))
    for token in reversed(tokens):
        otel_context.detach(token)


def pairs(header):
    return dict(pair.split("=") for pair in header.split(","))


def span_of(context):
    return trace.get_current_span(context).get_span_context()


# -- outgoing --------------------------------------------------------------------------------------------------------


def test_headers_name_the_current_observation(client):
    with client.start_as_current_observation(name="a") as observation:
        headers = inject_headers({}, url=ELSEWHERE)
        expected = {}
        TraceContextTextMapPropagator().inject(expected)

    assert headers == expected
    assert headers["traceparent"].split("-")[1:3] == [observation.trace_id, observation.id]


def test_user_and_session_go_to_the_list_only(client):
    with request_context(user_id="u@x.org", session_id="s 1"), client.start_as_current_observation(name="a"):
        assert "baggage" not in inject_headers({})
        assert "baggage" not in inject_headers({}, url=ELSEWHERE)
        members = pairs(inject_headers({}, url=OURS)["baggage"])

    assert (members["langfuse_user_id"], members["langfuse_session_id"]) == ("u%40x.org", "s+1")


def test_the_names_are_those_of_the_sdk(client, attach):
    with client.start_as_current_observation(name="a"), propagate_attributes(user_id="é u,1;=", session_id="s"):
        ours = inject_headers({}, url=OURS)
        with propagate_attributes(user_id="é u,1;=", session_id="s", as_baggage=True):
            theirs = {}
            W3CBaggagePropagator().inject(theirs)

    read = [dict(baggage.get_all(W3CBaggagePropagator().extract(headers, Context()))) for headers in (ours, theirs)]
    for entries in read:
        entries.pop("langfuse_trace_id", None)
    assert read[0] == read[1] == {"langfuse_user_id": "é u,1;=", "langfuse_session_id": "s"}


def test_a_user_set_further_inside_wins(client):
    outer = request_context(user_id="outer", session_id="s")
    with outer, client.start_as_current_observation(name="a"), propagate_attributes(user_id="inner"):
        members = pairs(inject_headers({}, url=OURS)["baggage"])

    assert (members["langfuse_user_id"], members["langfuse_session_id"]) == ("inner", "s")


def test_baggage_that_the_application_made_of_it_does_not_leak(client):
    with client.start_as_current_observation(name="a"), propagate_attributes(user_id="u", as_baggage=True):
        carrier = {}
        W3CBaggagePropagator().inject(carrier)
        carrier["baggage"] = "tenant=acme;p=1, " + carrier["baggage"] + ",langfuse%5Fuser_id=u,Langfuse_x=1,broken"
        for url in (ELSEWHERE, None):
            assert inject_headers(dict(carrier), url=url)["baggage"] == "tenant=acme;p=1,broken"
        assert "baggage" not in inject_headers({}, url=ELSEWHERE)


def test_other_members_stay(client, attach):
    attach(baggage.set_baggage("region", "eu west", baggage.set_baggage("tenant", "context")))
    with request_context(user_id="u"), client.start_as_current_observation(name="a"):
        headers = inject_headers({"baggage": "tenant=acme;secret,langfuse_user_id=stale,odd"}, url=OURS)

    assert headers["baggage"].startswith("tenant=acme;secret,odd,")
    members = headers["baggage"].split(",")
    assert "langfuse_user_id=u" in members
    assert "region=eu+west" in members
    assert not any("stale" in member or member == "tenant=context" for member in members)


def test_a_second_call_changes_nothing(client):
    with request_context(user_id="u"), client.start_as_current_observation(name="a"):
        once = inject_headers({"baggage": "a=1"}, url=OURS)
        assert inject_headers(dict(once), url=OURS) == once


def test_outside_of_any_span_nothing_is_added(client):
    with request_context(user_id="u"):
        assert inject_headers({"x": "1"}, url=OURS) == {"x": "1"}
        assert inject_headers({"traceparent": PARENT}, url=OURS) == {"traceparent": PARENT}
        assert inject_headers({"baggage": "langfuse_user_id=u"}, url=ELSEWHERE) == {}


@pytest.mark.parametrize(
    "mapping", [dict, httpx.Headers, CaseInsensitiveDict, CIMultiDict, MultiDict], ids=lambda mapping: mapping.__name__
)
def test_headers_are_replaced_whatever_their_case(client, mapping):
    headers = mapping({"Traceparent": "old", "TRACESTATE": "old=1", "Baggage": "tenant=acme", "X-Other": "1"})
    with request_context(user_id="u"), client.start_as_current_observation(name="a") as observation:
        assert inject_headers(headers, url=OURS) is headers

    found = {}
    for name, value in headers.items():
        found.setdefault(name.lower(), []).append(value)
    assert found.keys() == {"traceparent", "baggage", "x-other"}
    assert all(len(values) == 1 for values in found.values())
    assert observation.id in found["traceparent"][0]
    assert pairs(found["baggage"][0])["tenant"] == "acme"


def test_several_baggage_headers_become_one(client):
    headers = CIMultiDict([("baggage", "a=1"), ("Baggage", "b=2")])
    with request_context(user_id="u"), client.start_as_current_observation(name="a"):
        inject_headers(headers, url=OURS)

    assert headers.getall("baggage")[0].startswith("a=1,b=2,")
    assert len(headers.getall("baggage")) == 1


def test_names_may_be_bytes(client):
    with client.start_as_current_observation(name="a"):
        assert list(inject_headers({b"TraceParent": b"old"})) == ["traceparent"]


def test_tracestate_goes_with_its_traceparent(client, attach):
    attach(extract_context({"traceparent": PARENT, "tracestate": "vendor=1,other=2"}))
    assert inject_headers({"tracestate": "stale=1"}) == {"traceparent": PARENT, "tracestate": "vendor=1,other=2"}
    with client.start_as_current_observation(name="a"):
        assert inject_headers({})["tracestate"] == "vendor=1,other=2"


def test_what_does_not_fit_is_left_out_member_by_member(client, attach):
    attach(baggage.set_baggage("huge", "h" * 5000))
    full = ",".join(f"k{number}={'v' * 1000}" for number in range(8))
    with request_context(user_id="u" * 200), client.start_as_current_observation(name="a"):
        headers = inject_headers({"baggage": full}, url=OURS)
        alone = inject_headers({}, url=OURS)

    assert headers["baggage"].startswith(full)
    assert len(headers["baggage"]) <= 8192
    assert "huge" not in headers["baggage"]
    assert pairs(alone["baggage"])["langfuse_user_id"] == "u" * 200


def test_a_user_that_is_no_text_on_the_wire_is_sent_as_far_as_it_is(client, attach):
    with request_context(user_id="a\ud800b\r\nx: y"), client.start_as_current_observation(name="a"):
        headers = inject_headers({}, url=OURS)

    assert pairs(headers["baggage"])["langfuse_user_id"] == "a%3Fb%0D%0Ax%3A+y"


def test_without_tracing_set_up_no_host_is_on_the_list(fresh):
    with request_context(user_id="u"), TracerProvider().get_tracer("t").start_as_current_span("s"):
        assert list(inject_headers({}, url=OURS)) == ["traceparent"]


def test_a_failure_does_not_reach_the_application(fresh, keys, lines):
    init_tracing(**keys)
    failures.forget()
    proxy = CIMultiDictProxy(CIMultiDict())
    with get_langfuse_client().start_as_current_observation(name="a"):
        assert inject_headers(proxy) is proxy
        assert inject_headers(None) is None
    assert any("Tracing failed while adding headers to a request" in line for line in lines())
    assert failures.total == 2
    failures.forget()


# -- the parent that is named ----------------------------------------------------------------------------------------


def test_a_span_that_langfuse_never_gets_is_no_parent(client):
    start = trace.get_tracer("opentelemetry.instrumentation.httpx").start_as_current_span
    with client.start_as_current_observation(name="a") as observation, start("GET"), start("connect"):
        headers = inject_headers({})

    assert headers["traceparent"].split("-")[1:3] == [observation.trace_id, observation.id]


def test_a_span_of_an_llm_library_is_one(client):
    start = trace.get_tracer("openinference.instrumentation").start_as_current_span
    with client.start_as_current_observation(name="a"), start("llm") as span:
        headers = inject_headers({})

    assert headers["traceparent"].split("-")[2] == trace.format_span_id(span.get_span_context().span_id)


def test_below_a_servers_span_it_is_the_caller(client, attach):
    attach(extract_context({"traceparent": PARENT}))
    with trace.get_tracer("opentelemetry.instrumentation.asgi").start_as_current_span("GET /"):
        assert inject_headers({})["traceparent"].split("-")[1:3] == [TRACE, SPAN]


def test_the_trace_goes_on_where_no_observation_is_around(client):
    with trace.get_tracer("opentelemetry.instrumentation.asgi").start_as_current_span("GET /") as span:
        headers = inject_headers({})

    assert headers["traceparent"].split("-")[1] == trace.format_trace_id(span.get_span_context().trace_id)


def test_the_clients_own_filter_decides(fresh, keys):
    def only_kept(span):
        if span.name == "broken":
            raise RuntimeError
        return span.name == "kept"

    start = init_tracing(**keys, should_export_span=only_kept).start_as_current_observation
    with start(name="kept") as kept, start(name="dropped"), start(name="broken"):
        assert inject_headers({})["traceparent"].split("-")[2] == kept.id
    shutdown_tracing(0.1)

    client = init_tracing(**keys)
    with client.start_as_current_observation(name="dropped") as now_exported:
        assert inject_headers({})["traceparent"].split("-")[2] == now_exported.id
    failures.forget()


# -- incoming --------------------------------------------------------------------------------------------------------

HEADERS = {
    "traceparent": PARENT,
    "tracestate": "vendor=1",
    "baggage": "langfuse_user_id=u%40x,langfuse_session_id=s+1,tenant=acme",
}


def wsgi_environ():
    environ = {f"HTTP_{name.upper()}": value for name, value in HEADERS.items()}
    return {**environ, "wsgi.version": (1, 0), "wsgi.input": io.BytesIO(), "REQUEST_METHOD": "GET"}


@pytest.mark.parametrize(
    "headers",
    [
        HEADERS,
        {name.title(): value for name, value in HEADERS.items()},
        {name.encode(): value.encode() for name, value in HEADERS.items()},
        list(HEADERS.items()),
        [(name.encode(), value.encode()) for name, value in HEADERS.items()],
        (pair for pair in HEADERS.items()),
        [("other", b"\xff"), ("short",), None, ("x", object()), *HEADERS.items()],
        {name: [value] for name, value in HEADERS.items()},
        httpx.Headers(HEADERS),
        CaseInsensitiveDict(HEADERS),
        CIMultiDictProxy(CIMultiDict(HEADERS)),
        http.client.parse_headers(
            io.BytesIO("".join(f"{name}: {value}\r\n" for name, value in HEADERS.items()).encode() + b"\r\n")
        ),
        wsgi_environ(),
    ],
    ids=lambda headers: type(headers).__name__,
)
def test_headers_are_read_in_every_form(client, collector, attach, headers):
    context = extract_context(headers)
    oracle = TraceContextTextMapPropagator().extract(HEADERS)
    assert span_of(context) == span_of(oracle)
    assert span_of(context).trace_state.to_header() == "vendor=1"
    assert baggage.get_all(context) == {
        "langfuse_user_id": "u@x", "langfuse_session_id": "s 1", "tenant": "acme"
    }  # fmt: skip

    attach(context)
    assert (get_request_context().user_id, get_request_context().session_id) == ("u@x", "s 1")
    client.start_observation(name="below").end()
    client.flush()
    collector.wait_for(lambda: collector.accepted == ["below"], timeout=60.0)
    assert b"u@x" in collector.exports[0].body
    assert bytes.fromhex(TRACE) in collector.exports[0].body
    assert bytes.fromhex(SPAN) in collector.exports[0].body


def test_it_reads_what_was_written(client, attach):
    with request_context(user_id='é,;="% u', session_id="s"), client.start_as_current_observation(name="a") as here:
        context = extract_context(inject_headers({}, url=OURS))

    attach(context)
    assert (get_request_context().user_id, get_request_context().session_id) == ('é,;="% u', "s")
    assert trace.format_span_id(span_of(context).span_id) == here.id
    assert span_of(context).is_remote


def test_nothing_of_the_current_context_is_in_it(client):
    with request_context(user_id="here"), client.start_as_current_observation(name="a"):
        for headers in ({}, None, [], {"baggage": "tenant=acme"}):
            context = extract_context(headers)
            assert not span_of(context).is_valid
            token = otel_context.attach(context)
            assert get_request_context().user_id is None
            otel_context.detach(token)


def test_reading_marks_no_observation_of_the_caller(client, collector):
    with client.start_as_current_observation(name="a"):
        extract_context(HEADERS)
    client.flush()
    collector.wait_for(lambda: collector.accepted == ["a"], timeout=60.0)

    assert b"u@x" not in collector.exports[0].body


def test_a_long_user_is_cut_as_everywhere(client, attach):
    attach(extract_context({"baggage": f"langfuse_user_id={'u' * 300},langfuse_metadata_long={'m' * 300}"}))

    assert len(get_request_context().user_id) == 200
    assert baggage.get_all() == {"langfuse_user_id": get_request_context().user_id}


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": ""},
        {"traceparent": "garbage"},
        {"traceparent": PARENT.upper()},
        {"traceparent": PARENT + "-more"},
        {"traceparent": f"ff-{TRACE}-{SPAN}-01"},
        {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
        {"traceparent": f"00-{TRACE}-{'0' * 16}-01"},
        {"traceparent": PARENT + "\n"},
        {"traceparent": PARENT + "\x00"},
        {"traceparent": "\x00" + PARENT},
        {"traceparent": f"cc-{TRACE}-{SPAN}-01-{'x' * 10_000}"},
        {"traceparent": "é" + PARENT},
        [("traceparent", PARENT), ("traceparent", PARENT)],
        [("traceparent", PARENT), ("Traceparent", PARENT.replace("b7", "c8"))],
        {"HTTP_TRACEPARENT": PARENT},
        {"HTTP_TRACEPARENT": PARENT, "wsgi.version": "(1, 0)"},
        [(f"x{number}", "1") for number in range(10_000)] + [("traceparent", PARENT)],
        {"traceparent": None},
        {"traceparent": 7},
        "traceparent",
        [b"traceparent"],
    ],
    ids=lambda headers: repr(headers)[:40],
)
def test_no_parent_is_made_of(client, headers):
    assert extract_context(headers) == Context()


@pytest.mark.parametrize(
    "value",
    ["a%00b", "%0d%0aX: y", "%1b[31m", "%ff%fe", "", "%20", "é", "a b", "\x00", 'a"b', "a\\b"],
    ids=ascii,
)
def test_no_user_is_made_of(client, value):
    context = extract_context({"baggage": f"langfuse_user_id={value},langfuse_session_id=s,tenant=acme"})
    assert baggage.get_all(context) == {"langfuse_session_id": "s", "tenant": "acme"}


def test_properties_are_no_part_of_a_user(client, attach):
    attach(extract_context({"baggage": "langfuse_user_id = u-1 ; ttl=3;flag , tenant=acme"}))
    assert get_request_context().user_id == "u-1"


def test_baggage_in_several_lines_is_one(client):
    context = extract_context([("baggage", "langfuse_user_id=u"), ("baggage", "tenant=acme")])
    assert baggage.get_all(context) == {"langfuse_user_id": "u", "tenant": "acme"}


@pytest.mark.parametrize(
    "header",
    ["a=" + "x" * 9000, ",".join(f"k{number}=v" for number in range(2000)), "langfuse_user_id=u," + "," * 9000],
    ids=["value", "members", "commas"],
)
def test_baggage_that_is_too_long_is_none(client, header, caplog):
    assert extract_context({"baggage": header}) == Context()
    assert not caplog.records


def test_claims_of_another_trace_are_left_out(client):
    header = f"langfuse_trace_id={TRACE}"
    assert baggage.get_all(extract_context({"traceparent": PARENT, "baggage": header}))
    assert not baggage.get_all(extract_context({"traceparent": PARENT.replace("0af", "1af"), "baggage": header}))
    assert not baggage.get_all(extract_context({"baggage": header}))


class Counting(dict):
    """A mapping that counts how many of its headers are looked at."""

    looked_at = 0

    def items(self):
        for item in super().items():
            self.looked_at += 1
            yield item


def test_the_work_is_bounded(client):
    headers = Counting({f"x-{number}": "v" * 100 for number in range(10_000)})
    assert extract_context(headers) == Context()
    assert headers.looked_at == 1000


# -- properties ------------------------------------------------------------------------------------------------------

lines_of_text = st.one_of(
    st.text(max_size=300),
    st.binary(max_size=300),
    st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", fullmatch=True),
    st.lists(
        st.tuples(st.sampled_from(["langfuse_user_id", "langfuse_session_id", "langfuse_x", "k", "", "é"]), st.text()),
        max_size=5,
    ).map(lambda entries: ",".join(f"{name}={value}" for name, value in entries)),
)
names = st.sampled_from(["traceparent", "TraceParent", "tracestate", "baggage", "Baggage", b"baggage", b"traceparent"])
anything = st.one_of(st.none(), st.integers(), st.text(max_size=20), st.binary(max_size=20))


@pytest.mark.slow
@given(st.lists(st.one_of(st.tuples(names, lines_of_text), st.tuples(anything, anything), anything), max_size=12))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_in_a_context_comes_out(headers):
    failures.forget()
    context = extract_context(headers)
    assert failures.total == 0
    token = otel_context.attach(context)
    try:
        request = get_request_context()
        for value in (request.user_id, request.session_id):
            assert value is None or (0 < len(value) <= 200 and not any(ord(one) < 32 for one in value))
        for name, value in baggage.get_all().items():
            assert not name.startswith("langfuse_") or len(value) <= 200
        # What came in can go out again.
        for value in inject_headers({}).values():
            assert value.isascii()
            assert value.isprintable()
    finally:
        otel_context.detach(token)


@pytest.mark.slow
@given(
    st.dictionaries(
        st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=20).filter(
            lambda name: not name.lower().startswith("langfuse_")
        ),
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30),
        max_size=8,
    )
)
@settings(max_examples=200, deadline=None)
def test_other_baggage_is_read_as_opentelemetry_reads_it(entries):
    context = Context()
    for name, value in entries.items():
        context = baggage.set_baggage(name, value, context)
    carrier = {}
    W3CBaggagePropagator().inject(carrier, context)

    assert baggage.get_all(extract_context(carrier)) == baggage.get_all(
        W3CBaggagePropagator().extract(carrier, Context())
    )


@pytest.mark.slow
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200).map(str.strip).filter(bool))
@settings(max_examples=200, deadline=None)
def test_every_user_arrives_as_it_was(user):
    from pytest_langfuse.tracing.propagation import w3c_baggage

    context = extract_context({"baggage": w3c_baggage.encoded("langfuse_user_id", user)})
    token = otel_context.attach(context)
    try:
        assert get_request_context().user_id == user
    finally:
        otel_context.detach(token)


def test_random_traceparents_are_read_as_opentelemetry_reads_them():
    rng = random.Random(7)
    for _ in range(2000):
        text = list(PARENT)
        for _ in range(rng.randint(0, 2)):
            text[rng.randrange(len(text))] = rng.choice("0f-gA ")
        header = "".join(text)
        oracle = TraceContextTextMapPropagator().extract({"traceparent": header})
        assert span_of(extract_context({"traceparent": header})) == span_of(oracle), header


def test_requests_sends_what_was_injected(client, collector):
    headers = CaseInsensitiveDict({"Traceparent": "old"})
    with client.start_as_current_observation(name="a") as observation:
        requests.get(collector.url + "/x", headers=inject_headers(headers), timeout=10)
    (seen,) = [request for request in collector.requests if request.path == "/x"]

    assert observation.id in seen.headers["traceparent"]


@pytest.mark.parametrize("trusted", [True, False])
def test_a_message_goes_to_no_host(fresh, keys, trusted):
    client = init_tracing(**keys)
    with request_context(user_id="u"), client.start_as_current_observation(name="a") as observation:
        headers = inject_headers({}, trusted=trusted)

    assert observation.id in headers["traceparent"]
    assert ("langfuse_user_id=u" in headers.get("baggage", "")) == trusted
