"""`propagate_to`: which addresses match, and that none does that only looks as if it did."""

import string
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from urllib3.util import parse_url
from yarl import URL

from pytest_langfuse.tracing import ConfigError, TracingConfig
from pytest_langfuse.tracing.propagation.allow_list import AllowList, allow_list


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (
            "api.example.com",
            ["http://api.example.com", "https://API.Example.COM:8443/x?y#z", "http://api.example.com./",
             "//api.example.com/x", "http://u:p@api.example.com", "wss://api.example.com", b"http://api.example.com/"],
            ["http://example.com", "http://x.api.example.com", "http://api.example.com.evil.org", "http://api-example.com",
             "http://apiXexample.com", "http://api.example.com@evil.org", "http://evil.org/api.example.com",
             "http://evil.org?api.example.com", "http://evil.org#@api.example.com", "http://evil.org\\@api.example.com",
             "http://api.example.com\\.evil.org", "http://api.example.com%2eevil.org", "http://api.example.com..",
             "http://a@b@api.example.com", "http:// api.example.com", "http://api.example.com\t.evil.org",
             "http:/api.example.com", "http:api.example.com", "api.example.com", "/api.example.com", "", "http://",
             "http:///api.example.com", "http://[api.example.com]", "http://api.example.com:x", "http://evil\n.org",
             "http://api.example.com:80:90", "javascript://evil.org/%0aapi.example.com", 7, None, object()],
        ),
        (
            "api.example.com:8443",
            ["http://api.example.com:8443", "https://api.example.com:8443/"],
            ["http://api.example.com", "https://api.example.com", "http://api.example.com:84430"],
        ),
        ("api.example.com:443", ["https://api.example.com", "http://api.example.com:443"], ["http://api.example.com"]),
        ("api.example.com:80", ["http://api.example.com/", "ws://api.example.com:80"], ["https://api.example.com"]),
        (
            "*.example.com",
            ["http://a.example.com", "http://a.b.example.com:1", "http://A.EXAMPLE.com."],
            ["http://example.com", "http://evilexample.com", "http://.example.com", "http://a.example.com.evil.org",
             "http://a@example.com", "http://a..example.com"],
        ),
        ("*.example.com:8080", ["http://a.example.com:8080"], ["http://a.example.com"]),
        (
            "api-*.example.com",
            ["http://api-1.example.com", "http://api-.example.com"],
            ["http://api-1.evil.example.com", "http://api.example.com", "http://api-.evil.org.example.com"],
        ),
        ("*", ["http://anything.org", "http://[::1]", "http://127.0.0.1:1"], ["", "nothing", None]),
        ("*:8080", ["http://anything.org:8080"], ["http://anything.org"]),
        ("localhost", ["http://localhost:1234"], ["http://127.0.0.1", "http://localhost.evil.org"]),
        ("127.0.0.1", ["http://127.0.0.1:1"], ["http://127.0.0.10", "http://2130706433", "http://0x7f.1", "http://127.1"]),
        (
            "[::1]",
            ["http://[::1]", "http://[0:0:0:0:0:0:0:1]:8080/"],
            ["http://[::2]", "http://::1", "http://[::1", "http://[::ffff:127.0.0.1]", "http://[fe80::1%25eth0]"],
        ),
        ("[0:0::1]:8080", ["http://[::1]:8080"], ["http://[::1]"]),
        (
            "bücher.example",
            ["http://bücher.example", "http://BÜCHER.example", "http://xn--bcher-kva.example"],
            ["http://bucher.example", "http://b\u0000ücher.example"],
        ),
        ("*.straße.de", ["http://a.straße.de", "http://a.xn--strae-oqa.de"], ["http://a.strasse.de"]),
        ("xn--bcher-kva.example", ["http://bücher.example"], []),
        ("_dns.my_service", ["http://_dns.my_service/"], []),
    ],
)  # fmt: skip
def test_addresses(pattern, matching, others):
    # As the configuration has it.
    (pattern,) = TracingConfig(propagate_to=(pattern,)).propagate_to
    hosts = AllowList([pattern])
    for url in matching:
        assert hosts.allows(url), url
    for url in others:
        assert not hosts.allows(url), url


def test_objects_of_clients():
    hosts = AllowList(["api.example.com:8443"])
    for kind in (httpx.URL, URL, str):
        assert hosts.allows(kind("https://u:p@api.example.com:8443/x"))
        assert not hosts.allows(kind("https://api.example.com@evil.org:8443/x"))


def test_any_of_several_will_do():
    hosts = AllowList(["a.example", "*.b.example"])
    assert hosts.allows("http://a.example")
    assert hosts.allows("http://x.b.example")
    assert not hosts.allows("http://x.a.example")
    assert not AllowList([])
    assert not AllowList([]).allows("http://a.example")
    assert allow_list(("a.example",)) is allow_list(("a.example",))


def test_a_name_that_can_not_be_one_is_said(lines):
    hosts = AllowList(["\u0301.example", "*.\u0301.example", "[::x]", "ok.example"])
    assert hosts.allows("http://ok.example")
    assert len(lines()) == 3
    assert all("which is not a valid host name: it matches no host" in line for line in lines())


@pytest.mark.parametrize(
    "host", ["", "http://a.example", "a.example/x", "a b", "a..b", ".a.example", "a:0", "a:65536", "a:x", "::1",
             "[::x]", "u@a.example", "[a.example]", "a,b c", 7, None]
)  # fmt: skip
def test_what_is_no_host_is_refused(host):
    with pytest.raises(ConfigError, match=r"propagate_to=.* Allowed: host names .*Fix: pass propagate_to="):
        TracingConfig(propagate_to=(host,))


def test_long_addresses_are_not_remembered():
    from pytest_langfuse.tracing.propagation.allow_list import _host_and_port

    _host_and_port.cache_clear()
    assert AllowList(["a.example"]).allows("http://a.example/" + "x" * 100_000)
    assert _host_and_port.cache_info().currsize == 0


labels = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=4)
names = st.lists(labels, min_size=1, max_size=4)


def expected(pattern, name):
    """What the documentation says of the labels of a pattern and of a host."""
    if pattern[0] == "*" and len(pattern) > 1:
        return len(name) > len(pattern) - 1 and name[-(len(pattern) - 1) :] == pattern[1:]
    return name == pattern


@pytest.mark.slow
@given(st.one_of(names, names.map(lambda name: ["*", *name])), names, st.lists(labels, max_size=2), st.data())
@settings(max_examples=400, deadline=None)
def test_names_match_as_documented(pattern, name, below, data):
    # Often enough the host is the one of the pattern, or one below it.
    name = [*below, *data.draw(st.sampled_from([name, pattern[1:] or name, pattern]))]
    assume("*" not in name)
    url = f"http://{'.'.join(name)}{data.draw(st.sampled_from(['', '.', ':81', '/x', '?x', '#x']))}"
    assert AllowList([".".join(pattern)]).allows(url) == expected(pattern, name), url


pieces = [*"@:/\\?#[]%.&;=+ \t\r\n\0", "evil.org", "good.com", "%40", "%2f", "\u3002", "a"]
junk = st.lists(st.sampled_from(pieces), max_size=3).map("".join)


@pytest.mark.slow
@given(st.sampled_from(["http://", "https://", "//", "HTTP://", "http:", "http:/", "ws://"]), junk, junk, junk)
@settings(max_examples=1500, deadline=None)
def test_every_client_agrees_on_where_a_matching_address_leads(scheme, first, second, third):
    url = f"{scheme}{first}good.com{second}evil.org{third}"
    if not AllowList(["good.com"]).allows(url):
        return
    found = set()
    for parse in (
        lambda text: httpx.URL(text).raw_host.decode(),
        lambda text: urlsplit(text).hostname,
        lambda text: parse_url(text).host,
        lambda text: URL(text).raw_host,
    ):
        try:
            found.add((parse(url) or "").rstrip("."))
        except (httpx.InvalidURL, ValueError):  # that client does not send it
            continue
    assert found == {"good.com"}, url
