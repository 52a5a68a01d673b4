"""The second line: connections to a known Langfuse or exporter are refused, and nothing else is."""

import asyncio
import contextlib
import errno
import http.client
import socket
import ssl
import threading
import urllib.request

import aiohttp
import httpx
import pytest
import requests
import urllib3

from pytest_langfuse.recording.network_guard import CapturedConnectionError, NetworkGuard, RefusedConnection
from tests.helpers.loopback_langfuse import Collector

HERE = "tests/recording/test_network_guard.py"


def functions() -> dict[str, object]:
    """What a guard wraps, as it is now."""
    return {
        "connect": socket.socket.connect,
        "connect_ex": socket.socket.connect_ex,
        "send": socket.socket.send,
        "sendall": socket.socket.sendall,
        "sendmsg": socket.socket.sendmsg,
        "send over TLS": ssl.SSLSocket.send,
        "getaddrinfo": socket.getaddrinfo,
        "gethostbyname": socket.gethostbyname,
        "gethostbyname_ex": socket.gethostbyname_ex,
        "loop": asyncio.base_events.BaseEventLoop.getaddrinfo,
    }


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in ("LANGFUSE_BASE_URL", "LANGFUSE_HOST", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def real():
    """A server in the role of the real Langfuse."""
    collector = Collector()
    yield collector
    collector.close()


class Run:
    """A guard with what it was told, and knobs."""

    def __init__(self):
        # This run of pytest may have a guard of its own.
        self.before = functions()
        self.defined = "connect" in vars(socket.socket)
        self.refusals: list[RefusedConnection] = []
        self.captive = True
        self.addresses: list[tuple[str, str]] = []
        self.stand_ins: set[int] = set()
        self.guard = NetworkGuard(
            is_captive=lambda: self.captive,
            addresses=lambda: self.addresses,
            is_stand_in=lambda port: port in self.stand_ins,
            refused=self.refusals.append,
        )

    def wrapped(self) -> set[str]:
        return {name for name, function in functions().items() if function is not self.before[name]}


@pytest.fixture
def _names(monkeypatch):
    """Two names of this machine, as of a load balancer."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        name = host.decode() if isinstance(host, bytes) else host
        return resolve("127.0.0.1" if name in ("langfuse.test", "service.test") else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def run(_names):
    made = Run()
    made.guard.install()
    yield made
    made.guard.uninstall()
    assert made.wrapped() == set()
    assert ("connect" in vars(socket.socket)) == made.defined


@pytest.fixture
def known(run, real):
    """The guard, which knows the real server as a client's."""
    run.addresses.append((real.url, "a Langfuse client's base URL"))
    return run


def port_of(server) -> int:
    return int(server.url.rpartition(":")[2])


def raw(url):
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as sock:
        sock.settimeout(5)
        sock.connect((host, int(port)))
        sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        sock.recv(1)


def through_http_client(url):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    connection.request("GET", "/")
    connection.getresponse().read()
    connection.close()


async def streams(url):
    host, _, port = url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def through_aiohttp(url):
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        await response.read()


async def through_httpx(url):
    async with httpx.AsyncClient() as client:
        await client.get(url)


def through_httpx2(url):
    pytest.importorskip("httpx2").get(url)


SYNC = {
    "socket": raw,
    "http.client": through_http_client,
    "urllib": lambda url: urllib.request.urlopen(url, timeout=5).close(),
    "requests": lambda url: requests.get(url, timeout=5),
    "httpx": httpx.get,
    "httpx2": through_httpx2,
    "asyncio": lambda url: asyncio.run(streams(url)),
    "httpx async": lambda url: asyncio.run(through_httpx(url)),
    "aiohttp": lambda url: asyncio.run(through_aiohttp(url)),
}
each_client = pytest.mark.parametrize("send", SYNC.values(), ids=SYNC)
each_spelling = pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])


@each_client
@each_spelling
def test_no_client_reaches_a_known_endpoint(run, real, send, host):
    url = f"http://{host}:{port_of(real)}"
    run.addresses.append((url, "a Langfuse client's base URL"))
    with pytest.raises(Exception):  # noqa: B017, PT011 - each client has an exception of its own
        send(url)
    assert real.requests == []
    assert {(r.endpoint, r.known_as) for r in run.refusals} == {
        (f"{host}:{port_of(real)}", "a Langfuse client's base URL")
    }
    assert {r.caller.partition(":")[0] for r in run.refusals} == {HERE}


@each_client
@each_spelling
def test_every_client_reaches_it_when_the_caller_is_not_captured(run, real, send, host):
    url = f"http://{host}:{port_of(real)}"
    run.addresses.append((url, "a Langfuse client's base URL"))
    run.captive = False
    send(url)
    real.wait_for(lambda: len(real.requests) == 1)
    assert run.refusals == []


@each_client
def test_another_port_of_the_host_passes(known, send):
    other = Collector()
    try:
        send(other.url)
        other.wait_for(lambda: len(other.requests) == 1)
    finally:
        other.close()
    assert known.refusals == []


@pytest.mark.parametrize("send", [SYNC[name] for name in SYNC if name != "socket"])
def test_another_name_of_the_address_passes(run, real, send):
    """Behind one load balancer there may be a Langfuse and another service."""
    port = port_of(real)
    run.addresses.append((f"http://langfuse.test:{port}", "a Langfuse client's base URL"))
    with pytest.raises(Exception):  # noqa: B017, PT011 - each client has an exception of its own
        SYNC["requests"](f"http://langfuse.test:{port}")
    assert real.requests == []
    send(f"http://service.test:{port}")
    real.wait_for(lambda: len(real.requests) == 1)


def refused(run, real, *addresses):
    """Connect to each address by every way that takes it as it is, and return those that were not refused."""
    passed = []
    for address in addresses:
        for connect in (
            lambda sock, address=address: sock.connect(address),
            lambda sock, address=address: sock.connect_ex(address) and pytest.fail("refused"),
        ):
            before = len(run.refusals)
            with socket.socket(socket.AF_INET6 if ":" in str(address[0]) else socket.AF_INET) as sock:
                sock.settimeout(5)
                # What was refused counts, and nothing else.
                with contextlib.suppress(OSError, pytest.fail.Exception):
                    connect(sock)
            if len(run.refusals) == before:
                passed.append(address)
    return passed


def test_every_spelling_of_a_known_address_is_refused(known, real):
    """Each of them reaches the server, as the test below shows."""
    spellings = [*SPELLINGS, "::ffff:127.0.0.1", "::ffff:7f00:1", "::1%1", "::"]
    assert refused(known, real, *[(host, port_of(real)) for host in spellings]) == []
    assert refused(known, real, (bytearray(b"127.1"), port_of(real)), (b"127.1", Port(port_of(real)))) == []
    assert real.requests == []


SPELLINGS = ["127.0.0.1", "127.1", "127.0.1", "0x7f000001", "2130706433", "0177.0.0.1", "0x7f.1", "0", "0.0.0.0", ""]
SPELLINGS += ["localhost", "LOCALHOST", "localhost.", "\uff11\uff12\uff17.0.0.1", b"localhost"]


class Port:
    """A number as numpy has it."""

    def __init__(self, number):
        self.number = number

    def __index__(self):
        return self.number


@pytest.mark.parametrize("host", [host for host in SPELLINGS if host != "localhost."])
def test_a_spelling_of_an_address_is_what_a_socket_takes_it_for(run, real, host):
    run.captive = False
    with socket.socket() as sock:
        sock.connect((host, port_of(real)))
        assert sock.getpeername() == ("127.0.0.1", port_of(real))


@pytest.mark.parametrize("spelling", ["localhost", "LOCALHOST.", "127.1", "[::1]", "0x7f000001", "[::ffff:127.0.0.1]"])
def test_this_machine_has_many_names(run, real, spelling):
    run.addresses.append((f"http://{spelling}:{port_of(real)}/", "a Langfuse client's base URL"))
    assert refused(run, real, *[(host, port_of(real)) for host in ("127.0.0.1", "localhost", "127.1", "::1")]) == []
    for resolve in (socket.getaddrinfo, lambda host, port: (socket.gethostbyname(host), raw(f"http://{host}:{port}"))):
        with pytest.raises(CapturedConnectionError):
            resolve("localhost", port_of(real))
    assert real.requests == []


def test_other_addresses_of_the_machine_are_other_hosts(known, real):
    """Forwarded ports are told apart by them."""
    assert len(refused(known, real, ("127.0.0.2", port_of(real)), ("127.1.1", port_of(real)))) == 4


@pytest.mark.parametrize(
    "resolve", [socket.getaddrinfo, lambda host, _: socket.gethostbyname(host), lambda host, _: host]
)
@pytest.mark.parametrize("name", ["service.test", "localhost", "127.0.0.1"])
def test_a_name_of_a_known_address_does_not_open_the_way(known, real, resolve, name):
    with contextlib.suppress(OSError):
        resolve(name, port_of(real))
    with pytest.raises(CapturedConnectionError):
        raw(real.url)
    with pytest.raises(CapturedConnectionError):
        asyncio.run(streams(real.url))
    assert real.requests == []


@pytest.mark.parametrize("resolve", ["gethostbyname", "gethostbyname_ex"])
def test_an_address_is_the_name_s_that_was_resolved_to_it(run, real, monkeypatch, resolve):
    monkeypatch.undo()
    run.guard.uninstall()
    monkeypatch.setattr(socket, resolve, lambda _: ("langfuse.test", [], ["127.0.0.1"]) if "_" in resolve else "127.1")
    run.before = functions()
    run.guard.__init__(
        is_captive=lambda: True,
        addresses=lambda: [(f"http://langfuse.test:{port_of(real)}", "a Langfuse client's base URL")],
        is_stand_in=lambda _: False,
        refused=run.refusals.append,
    )
    run.guard.install()
    getattr(socket, resolve)("langfuse.test")
    with pytest.raises(CapturedConnectionError, match=r"langfuse\.test"):
        raw(real.url)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1.evil.test", "http://localhost.evil.test", "http://evil-localhost", "http://10.127.0.0.1.test"],
)
def test_a_name_that_only_looks_alike_is_another_host(known, real, url):
    """Neither a prefix nor a suffix counts."""
    name = url.removeprefix("http://")
    # There is no host of that name.
    with socket.socket() as sock, pytest.raises(socket.gaierror):
        sock.connect((name, port_of(real)))
    assert known.refusals == []


def test_the_error_names_the_caller_and_what_it_is(known, real):
    with pytest.raises(ConnectionRefusedError) as caught, socket.socket() as sock:
        sock.connect(("127.0.0.1", port_of(real)))
    line = caught.traceback[0].lineno + 1
    assert caught.value.errno == errno.ECONNREFUSED
    assert caught.value.strerror == (
        f"{HERE}:{line} tried to connect to 127.0.0.1:{port_of(real)} (a Langfuse client's base URL), which a captured "
        "test must not reach: send to the stand-in (fixture langfuse_server), or mock the request"
    )


def test_connect_ex_returns_the_error_number(known, real):
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", port_of(real))) == errno.ECONNREFUSED
    assert len(known.refusals) == 1


def test_a_tls_socket_is_a_socket(known, real):
    context = ssl.create_default_context()
    with (
        socket.socket() as sock,
        context.wrap_socket(sock, server_hostname="x") as tls,
        pytest.raises(CapturedConnectionError),
    ):
        tls.connect(("127.0.0.1", port_of(real)))


@pytest.mark.parametrize(
    "variable",
    [
        "LANGFUSE_BASE_URL",
        "LANGFUSE_HOST",
        "LANGFUSE_OTEL_HOST",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ],
)
def test_variables_name_endpoints_also_after_they_have_changed(run, real, monkeypatch, variable):
    monkeypatch.setenv(variable, f"{real.url}/path")
    with pytest.raises(CapturedConnectionError, match=variable):
        raw(real.url)
    monkeypatch.setenv(variable, "http://elsewhere.example")
    with pytest.raises(CapturedConnectionError, match=variable):
        raw(real.url)
    assert real.requests == []


@pytest.mark.parametrize("host", ["cloud", "us.cloud", "jp.cloud", "hipaa.cloud"])
def test_the_cloud_is_known_without_any_setting(run, host):
    """It is refused before its name is resolved: a test fails also where there is no network."""
    with pytest.raises(CapturedConnectionError, match=rf"{host}\.langfuse\.com:443 \(Langfuse Cloud\)"):
        socket.create_connection((f"{host}.langfuse.com", 443), timeout=0.1)
    with pytest.raises(Exception):  # noqa: B017, PT011 - httpx's own
        asyncio.run(through_httpx(f"https://{host}.langfuse.com/"))
    assert [r.endpoint for r in run.refusals] == [f"{host}.langfuse.com:443"] * 2


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"])
def test_a_proxy_is_never_refused(known, real, monkeypatch, variable):
    monkeypatch.setenv(variable, real.url)
    raw(real.url)
    assert known.refusals == []


def test_a_proxy_that_no_client_uses_is_none(known, real, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", real.url)
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(CapturedConnectionError):
        raw(real.url)


def test_requests_through_a_proxy_pass_it(run, real, monkeypatch):
    run.addresses.append(("http://langfuse.example", "a Langfuse client's base URL"))
    monkeypatch.setenv("HTTP_PROXY", real.url)
    requests.get("http://service.example/", timeout=5)
    assert [seen.path for seen in real.requests] == ["http://service.example/"]
    assert run.refusals == []


def test_the_stand_in_is_not_refused(known, real):
    known.stand_ins.add(port_of(real))
    raw(real.url)
    assert known.refusals == []


def test_a_thread_of_a_library_is_named(known, real):
    source = "def work(connect, address):\n    try:\n        connect(address)\n    except OSError:\n        pass\n"
    space = {"__name__": "somelibrary.worker"}
    exec(compile(source, requests.__file__, "exec"), space)
    with socket.socket() as sock:
        thread = threading.Thread(
            target=space["work"], args=(sock.connect, ("127.0.0.1", port_of(real))), name="sender-1"
        )
        thread.start()
        thread.join()
    assert [r.caller for r in known.refusals] == ["somelibrary (thread sender-1)"]


def test_an_address_that_another_task_has_resolved_is_the_name_s(run, real):
    """Aiohttp keeps addresses, and resolves in a task of its own."""
    port = port_of(real)
    run.addresses.append((f"http://langfuse.test:{port}", "a Langfuse client's base URL"))
    run.captive = False
    thread = threading.Thread(target=socket.getaddrinfo, args=("langfuse.test", port))
    thread.start()
    thread.join()
    run.captive = True
    with pytest.raises(CapturedConnectionError, match=f"langfuse.test:{port}"):
        raw(f"http://127.0.0.1:{port}")
    assert real.requests == []


def test_other_sockets_pass(run, tmp_path):
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.connect(str(tmp_path / "s"))


def kept_by_http_client(url):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)

    def send():
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            connection.close()
            raise

    yield send
    connection.close()


def kept_by_requests(url):
    with requests.Session() as session:
        yield lambda: session.get(url, timeout=5).raise_for_status()


def kept_by_httpx(url):
    with httpx.Client() as client:
        yield lambda: client.get(url).raise_for_status()


def kept_by_urllib3(url):
    with urllib3.PoolManager(retries=False) as pool:
        yield lambda: pool.request("GET", url)


def kept_by_aiohttp(url):
    async def get():
        async with session.get(url) as response:
            await response.read()

    async def make():
        return aiohttp.ClientSession()

    with asyncio.Runner() as runner:
        session = runner.run(make())
        yield lambda: runner.run(get())
        runner.run(session.close())


@pytest.mark.slow
@pytest.mark.parametrize(
    "kept", [kept_by_http_client, kept_by_requests, kept_by_httpx, kept_by_urllib3, kept_by_aiohttp]
)
def test_a_connection_that_was_opened_before_is_not_used(known, real, kept):
    sends = kept(real.url)
    send = next(sends)
    known.captive = False
    send()
    known.captive = True
    with pytest.raises(Exception):  # noqa: B017, PT011 - each client has an exception of its own
        send()
    assert len(real.requests) == 1
    assert known.refusals != []
    known.captive = False
    send()
    send()
    assert len(real.requests) == 3
    next(sends, None)


def test_a_connection_to_another_service_is_looked_at_once(run, real, monkeypatch):
    looked = []
    monkeypatch.setattr(socket.socket, "getpeername", lambda sock: looked.append(sock) or ("127.0.0.1", 1))
    run.captive = False
    sends = kept_by_requests(real.url)
    send = next(sends)
    send()
    run.captive = True
    for _ in range(3):
        send()
    # The client's, and the server's, which is in this process.
    assert len(looked) == len(set(map(id, looked))) == 2
    assert len(real.requests) == 4
    next(sends, None)


def test_what_is_wrapped_and_that_it_is_removed(run):
    assert run.wrapped() == set(functions())
    run.guard.uninstall()
    assert run.wrapped() == set()


def test_a_wrap_below_another_one_lets_all_pass_once_it_is_removed(known, real, monkeypatch):
    ours = socket.socket.connect

    def theirs(sock, address):
        return ours(sock, address)

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", theirs)
        known.guard.uninstall()
        assert socket.socket.connect is theirs
        raw(real.url)
    assert known.refusals == []
    # As it would be without the other wrap.
    socket.socket.connect = known.before["connect"]
    if not known.defined:
        del socket.socket.connect


def test_a_plugin_that_restores_the_original_does_not_open_the_way(known, real):
    """pytest-socket puts the method that it has found at its import back after each test."""
    socket.socket.connect = known.before["connect"]
    # Something is resolved before nearly every connection.
    socket.getaddrinfo("127.0.0.1", None)
    with pytest.raises(CapturedConnectionError):
        raw(real.url)
    socket.socket.connect = known.before["connect"]
    known.guard.restore()
    with pytest.raises(CapturedConnectionError):
        raw(real.url)
    assert real.requests == []
    known.guard.uninstall()
    if not known.defined:
        del socket.socket.connect
