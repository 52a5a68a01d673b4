"""What the middlewares believe of a request, and what a hostile client can do: nothing."""

import contextlib
import re
import socket

import pytest
from fastapi import Depends, FastAPI
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.responses import PlainTextResponse

from pytest_langfuse.tracing import (
    LangfuseASGIMiddleware,
    LangfuseWSGIMiddleware,
    RequestContext,
    get_langfuse_client,
    get_request_context,
    init_tracing,
    request_context,
    shutdown_tracing,
)
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.propagation.w3c_headers import MOST_HEADERS
from pytest_langfuse.tracing.web import request_headers as request_headers_module
from pytest_langfuse.tracing.web.request_headers import of_environ, of_scope, shown
from tests.helpers.web_calls import call, call_wsgi, environ_of, raw, scope_of, uvicorn_serving, wsgiref_serving

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
ALL = [
    ("x-user-id", "u-1"), ("x-session-id", "s-1"), ("x-request-id", "r-1"), ("traceparent", TRACEPARENT),
    ("baggage", "langfuse_user_id=u-b,langfuse_session_id=s-b,other=1"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_settings():
    """Those of the capture stay."""


@pytest.fixture(autouse=True)
def client(langfuse_tracing):
    return langfuse_tracing()


def observe():
    with get_langfuse_client().start_as_current_observation(name="work"):
        pass


async def answer(scope, receive, send):
    observe()
    await PlainTextResponse("fine")(scope, receive, send)


def answer_wsgi(environ, start_response):
    observe()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]


async def asgi(headers, **options):
    await call(LangfuseASGIMiddleware(answer, **options), headers=headers)


async def wsgi(headers, **options):
    call_wsgi(LangfuseWSGIMiddleware(answer_wsgi, **options), headers=headers)


both = pytest.mark.parametrize("serve", [asgi, wsgi])


@both
async def test_trusted_headers_are_believed(langfuse_spans, serve):
    await serve(ALL, trusted=True)

    langfuse_spans.assert_tree("""
        * user_id=u-1 session_id=s-1 metadata.request_id=r-1
        span GET
            span work
    """)
    root = langfuse_spans.one("span GET")
    assert (root.trace_id, root.parent_id) == (TRACE_ID, SPAN_ID)


@both
@pytest.mark.parametrize("options", [{"trusted": False}, {}])
async def test_untrusted_headers_are_not(langfuse_spans, serve, options):
    await serve(ALL, **options)

    langfuse_spans.assert_tree("* !user_id !session_id\nspan GET\n    span work")
    root = langfuse_spans.one("span GET")
    assert root.is_root
    assert root.trace_id != TRACE_ID
    [link] = root.span.links
    assert (link.context.trace_id, link.context.span_id) == (int(TRACE_ID, 16), int(SPAN_ID, 16))
    sent = {value for name, value in ALL if name not in {"traceparent", "x-request-id"}} | {"u-b", "s-b"}
    assert not sent & {str(value).strip('"') for value in root.span.attributes.values()}


@both
@pytest.mark.parametrize(
    "value", ["r-1", "x" * 128, "3f2b8c1e-7d5a-4b6f-9c0d-1e2f3a4b5c6d", "Root=1-67891233-abc/+:@_."]
)
async def test_a_plain_request_id_is_taken_from_anybody(langfuse_spans, serve, value):
    await serve([("x-request-id", value)], trusted=False)

    langfuse_spans.assert_tree("* metadata.request_id=$value\nspan GET\n    span work", value=value)


@both
@pytest.mark.parametrize("value", ["", "x" * 129, "a b", "a;b", "<b>", "${jndi}", "é", "a\tb", "a\x7fb"])
async def test_another_request_id_is_not(langfuse_spans, serve, value):
    await serve([("x-request-id", value)], trusted=False)

    assert re.fullmatch(r"[0-9a-f-]{36}", langfuse_spans.one("span GET").metadata["request_id"])


@both
async def test_the_setting_decides_where_the_argument_does_not(langfuse_spans, serve):
    shutdown_tracing()
    init_tracing(trusted_request_headers=True)
    await serve(ALL)
    await serve(ALL, trusted=False)

    assert [root.user_id for root in langfuse_spans.all("span GET")] == ["u-1", None]


@both
async def test_user_and_session_of_trusted_baggage(langfuse_spans, serve):
    await serve([pair for pair in ALL if not pair[0].startswith("x-")], trusted=True)

    langfuse_spans.assert_tree("* user_id=u-b session_id=s-b\nspan GET\n    span work")


async def test_a_trusted_caller_that_did_not_sample_hides_no_error(langfuse_spans):
    for status in (200, 503):
        app = LangfuseASGIMiddleware(PlainTextResponse("", status_code=status), trusted=True)
        await call(app, headers=[("traceparent", TRACEPARENT[:-1] + "0")])

    assert langfuse_spans.one("span GET").output == {"status_code": 503}
    assert langfuse_spans[0].trace_id == TRACE_ID


@both
@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(
    "traceparent",
    [
        "", "nonsense", f"00-{'0' * 32}-{SPAN_ID}-01", f"00-{TRACE_ID}-{'0' * 16}-01", f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01", f"{TRACEPARENT}-" + "x" * 5000, f"{TRACEPARENT}\x00", "é" * 55,
    ],
)  # fmt: skip
async def test_a_malformed_traceparent_is_none(langfuse_spans, serve, trusted, traceparent):
    await serve([("traceparent", traceparent)], trusted=trusted)

    root = langfuse_spans.one("span GET")
    assert root.is_root
    assert not root.span.links


@both
@pytest.mark.parametrize(
    "value", ["", "  ", "a\x00b", "a\nb", "a\r\nx-user-id: b", "\x1b[31m", "\u202euser", "x" * 1025, "\ud800"]
)
async def test_an_id_that_is_none(langfuse_spans, serve, value):
    value = value.encode("utf-8", "surrogatepass").decode("utf-8", "replace") if value != "\ud800" else "a\x7fb"
    await serve([(name, value) for name in ("x-user-id", "x-session-id", "x-request-id")], trusted=True)

    langfuse_spans.assert_tree("* !user_id !session_id\nspan GET\n    span work")
    assert re.fullmatch(r"[0-9a-f-]{36}", langfuse_spans.one("span GET").metadata["request_id"])


@both
@pytest.mark.parametrize("value", ["u@x.org", "Zoë", "用户", "a b", "x" * 200])
async def test_an_id_that_is_one(langfuse_spans, serve, value):
    await serve([("x-user-id", f" {value} ")], trusted=True)

    assert {one.user_id for one in langfuse_spans} == {value}


@both
async def test_a_long_id_stays_one_id(langfuse_spans, serve):
    await serve([("x-user-id", "x" * 999 + "1")], trusted=True)
    await serve([("x-user-id", "x" * 999 + "2")], trusted=True)

    found = {one.user_id for one in langfuse_spans}
    assert len(found) == 2
    assert {len(one) for one in found} == {200}


@pytest.mark.slow
def test_bytes_that_are_no_text_are_no_id():
    assert of_scope([(b"x-user-id", b"\xff\xfe")]).identifier(request_headers_module.USER) is None
    assert of_environ({"HTTP_X_USER_ID": "\xff\xfe"}).identifier(request_headers_module.USER) is None
    assert of_environ({"HTTP_X_USER_ID": "\ud800"}).identifier(request_headers_module.USER) == "?"


async def test_two_ids_that_differ_are_none(langfuse_spans):
    """Of a client and of the gateway behind it: nobody knows which is which."""
    pairs = [("x-user-id", "evil"), ("X-User-Id", "u-1"), ("x-session-id", "s-1"), ("X-Session-ID", "s-1")]
    await call(LangfuseASGIMiddleware(answer, trusted=True), headers=pairs)
    environ = environ_of("/", headers=[("x-user-id", "evil,u-1"), ("x-session-id", "s-1, s-1")])
    call_wsgi(LangfuseWSGIMiddleware(answer_wsgi, trusted=True), environ=environ)

    assert {(one.user_id, one.session_id) for one in langfuse_spans} == {(None, "s-1")}


async def test_more_headers_than_any_client_needs_are_not_believed(langfuse_spans):
    read = []

    class Counted(list):
        def __iter__(self):
            for item in super().__iter__():
                read.append(item)
                yield item

    scope = scope_of("/")
    scope["headers"] = Counted([(b"x-user-id", b"u-1")] + [(b"x-session-id", b"s-1")] * 10_000)
    await call(LangfuseASGIMiddleware(answer, trusted=True), scope=scope)

    assert len(read) == MOST_HEADERS + 1
    assert (langfuse_spans[0].user_id, langfuse_spans[0].session_id) == (None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a b/é", "/a b/é"),
        ("/a\x00\n\x1b[1m", "/a\\x00\\x0a\\x1b[1m"),
        ("/\ud800", "/\\xd800"),
        ("x" * 5000, "x" * 2047 + "…"),
    ],
)
def test_texts_are_fit_to_be_shown(text, expected):
    assert shown(text) == expected


# -- spans of other instrumentations -------------------------------------------------------------------------------


def extracted_by_others(headers):
    return W3CBaggagePropagator().extract(dict(headers), TraceContextTextMapPropagator().extract(dict(headers)))


@contextlib.contextmanager
def foreign_server_span(headers, provider=None):
    """As OpenTelemetry's contrib middleware, and FastAPI's own telemetry, do before the application is called."""
    token = otel_context.attach(extracted_by_others(headers))
    tracer = (provider or trace.get_tracer_provider()).get_tracer("opentelemetry.instrumentation.asgi")
    try:
        with tracer.start_as_current_span("GET", kind=trace.SpanKind.SERVER) as span:
            yield span
    finally:
        otel_context.detach(token)


@both
@pytest.mark.parametrize("trusted", [True, False])
async def test_a_server_span_that_langfuse_does_not_get_is_no_parent(langfuse_spans, serve, trusted):
    with foreign_server_span(ALL) as span:
        await serve(ALL, trusted=trusted)

    root = langfuse_spans.one("span GET")
    assert root.parent_id == (SPAN_ID if trusted else None)
    assert (root.trace_id == TRACE_ID) is trusted
    assert span.get_span_context().span_id in {link.context.span_id for link in root.span.links}
    assert {one.user_id for one in langfuse_spans} == {"u-1" if trusted else None}


@both
async def test_without_a_caller_it_is_a_root_beside_the_server_span(langfuse_spans, serve):
    with foreign_server_span([]):
        await serve([], trusted=True)

    langfuse_spans.assert_tree("span GET\n    span work")
    assert langfuse_spans.one("span GET").is_root


@both
async def test_a_server_span_that_langfuse_gets_is_the_parent(langfuse_spans, serve):
    shutdown_tracing()
    init_tracing(should_export_span=lambda span: True)
    with foreign_server_span([]):
        await serve([])

    langfuse_spans.assert_tree("any GET\n    span GET\n        span work")


@both
async def test_an_observation_of_the_caller_in_this_process_is_the_parent(langfuse_spans, serve):
    with get_langfuse_client().start_as_current_observation(name="test"):
        await serve(ALL, trusted=True)

    langfuse_spans.assert_tree("span test !user_id\n    span GET user_id=u-1\n        span work user_id=u-1")


async def test_baggage_that_another_instrumentation_has_read_stays_where_it_is_not_langfuses(langfuse_spans):
    seen = []

    async def app(scope, receive, send):
        seen.append(dict(baggage.get_all()))
        await answer(scope, receive, send)

    with foreign_server_span(ALL):
        await call(LangfuseASGIMiddleware(app), headers=ALL)

    assert seen[0]["other"] == "1"
    assert "langfuse_user_id" not in seen[0]


async def test_a_remote_context_that_somebody_has_attached_is_not_believed_either(langfuse_spans):
    token = otel_context.attach(extracted_by_others(ALL))
    try:
        await call(LangfuseASGIMiddleware(answer), headers=ALL)
    finally:
        otel_context.detach(token)

    langfuse_spans.assert_tree("* !user_id\nspan GET\n    span work")
    root = langfuse_spans.one("span GET")
    assert root.is_root
    assert len(root.span.links) == 1


async def test_an_unrecorded_server_span_is_no_parent(langfuse_spans):
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    with foreign_server_span([], TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)):
        await call(LangfuseASGIMiddleware(answer))

    assert langfuse_spans.one("span GET").is_root


# -- over the wire -------------------------------------------------------------------------------------------------

NAMES = [b"x-user-id", b"x-session-id", b"x-request-id", b"traceparent", b"tracestate", b"baggage"]
ATTACKS = {
    "oversized": [(name, b"A" * 7000) for name in NAMES[:4]],
    "control characters": [(name, b"a\x01\x02\x7f\tb") for name in NAMES],
    "escape sequences": [(name, b"\x1b]0;owned\x07") for name in NAMES],
    "nul": [(name, b"a\x00b") for name in NAMES],
    "invalid utf-8": [(name, b"\xff\xfe\xc3\x28\xed\xa0\x80") for name in NAMES],
    "duplicates": [(name, b"value-%d" % number) for name in NAMES for number in range(3)],
    "many of one": [(b"x-user-id", b"%d" % number) for number in range(90)],
    "ten thousand": [(b"x-filler-%d" % number, b"1") for number in range(10_000)],
    "many members": [(b"baggage", b",".join(b"langfuse_user_id=%d" % number for number in range(500)))],
    "members without end": [(b"baggage", b"," * 7000), (b"tracestate", b"," * 500)],
    "escapes": [(b"baggage", b"langfuse_user_id=%00%0a%ff%ed%a0%80,langfuse_metadata_a=" + b"%41" * 1000)],
    "almost a traceparent": [(b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01-" + b"-" * 3000)],
    "not decimal": [(b"traceparent", b"00-" + "٣".encode() * 32 + b"-" + b"b" * 16 + b"-01")],
    "folded": [(b"x-user-id", b"a\r\n continued")],
    "injected": [(b"x-user-id", b"a\r\nx-user-id: b")],
    "no name": [(b"", b"1"), (b" ", b"2"), (b"x user id", b"3")],
}
REQUEST_LINES = {
    "method": b"\x00EVIL /items/3 HTTP/1.1", "long method": b"M" * 6000 + b" / HTTP/1.1",
    "long path": b"GET /" + b"p" * 7000 + b" HTTP/1.1", "bytes in the path": b"GET /%00%ff%0a%1b[1m/\xff HTTP/1.1",
    "dots": b"GET /../../%2e%2e/etc/passwd HTTP/1.1", "absolute": b"GET http://evil.test/ HTTP/1.1",
}  # fmt: skip
SERVERS = {
    "uvicorn h11": lambda trusted: uvicorn_serving(LangfuseASGIMiddleware(answer, trusted=trusted), http="h11"),
    "wsgiref": lambda trusted: wsgiref_serving(LangfuseWSGIMiddleware(answer_wsgi, trusted=trusted)),
}


def attack(url, headers, line=b"GET / HTTP/1.1"):
    lines = [line, b"host: a", b"connection: close", *(name + b": " + value for name, value in headers)]
    return raw(url, b"\r\n".join([*lines, b"", b""]))


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("server", SERVERS)
def test_a_hostile_client(langfuse_spans, server, trusted, caplog, capfd):
    """Whatever it sends: the server goes on, nothing fails, and what is shown is printable and bounded."""
    failures.forget()
    with SERVERS[server](trusted) as url:
        for headers in ATTACKS.values():
            attack(url, headers)
        for line in REQUEST_LINES.values():
            attack(url, [], line)
        # A client that leaves in the middle of its headers.
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nx-user-id: u")
        good = attack(url, [(b"x-user-id", b"good"), (b"x-session-id", b"s")])

    assert good.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
    assert failures.total == 0, caplog.text
    assert "Traceback" not in capfd.readouterr().err
    roots = [one for one in langfuse_spans if one.name != "work"]
    assert len(roots) > 5
    assert {one.name for one in roots} <= {"GET", "HTTP"}
    for one in langfuse_spans:
        for value in (one.user_id, one.session_id, one.metadata.get("request_id"), *(one.input or {}).values()):
            assert value is None or (len(value) <= 2048 and value.isprintable()), value
        assert all(len(str(value)) < 5000 for value in one.span.attributes.values())
    assert [(one.user_id, one.session_id) for one in roots][-1] == (("good", "s") if trusted else (None, None))
    assert {one.user_id for one in roots} >= {None}
    if not trusted:
        assert {(one.user_id, one.session_id) for one in langfuse_spans} == {(None, None)}
        assert all(one.is_root for one in roots)
    assert get_request_context() == RequestContext()


@pytest.mark.parametrize("added", [True, False])
async def test_fastapi_that_makes_spans_of_its_own(langfuse_spans, lines, added):
    async def signed_in():
        async with request_context(user_id="u-1"):
            yield

    def item(i):
        observe()
        return get_request_context().user_id

    app = FastAPI(dependencies=[Depends(signed_in)])
    app.get("/items/{i}")(item)
    if not hasattr(app, "_native_telemetry"):
        pytest.skip("this FastAPI makes no spans")
    if added:
        app.add_middleware(LangfuseASGIMiddleware)
    else:
        app = LangfuseASGIMiddleware(app)
    scope = scope_of("/items/3")
    sent = await call(app, scope=scope)

    assert sent[1]["body"] == b'"u-1"'
    langfuse_spans.assert_tree('* user_id=u-1\nspan "GET /items/{i}"\n  span work')
    assert {one.span.name for one in langfuse_spans.filtered} >= {"fastapi.dependencies", "fastapi.endpoint"}
    assert lines() == []
    assert "fastapi.telemetry" not in scope
    assert scope["path_params"] == {"i": "3"}
    assert isinstance(scope["app"], FastAPI)
