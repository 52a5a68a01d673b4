"""The proxies that the environment names, by httpx's rules."""

from __future__ import annotations

import importlib.util
import ipaddress
import urllib.request
from collections.abc import Callable
from typing import TypeVar

import httpx

from pytest_langfuse.tracing.failures import logger
from pytest_langfuse.tracing.langfuse_internals import environment_proxies
from pytest_langfuse.tracing.log_text import readable

Transport = TypeVar("Transport")


def proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy for an address (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, …).

    httpx decides, but a network in `NO_PROXY` (`10.0.0.0/8`) holds too, as with requests, which the SDK exports by.
    """
    proxy = next((proxy for matches, proxy in environment_proxies() if matches(url)), None)
    return None if proxy is None or _is_in_network(url.host) else proxy


def all_usable() -> bool:
    """Return whether httpx can build a client with the environment's proxies."""
    try:
        schemes = {httpx.Proxy(proxy).url.scheme for _, proxy in environment_proxies(strict=True) if proxy is not None}
    except (ValueError, httpx.InvalidURL):
        return False
    return not any(scheme.startswith("socks") for scheme in schemes) or importlib.util.find_spec("socksio") is not None


def _is_in_network(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in urllib.request.getproxies().get("no", "").split(","):
        try:
            network = ipaddress.ip_network(entry.strip(), strict=False)
        except ValueError:
            continue
        if address in network:
            return True
    return False


class UnusableProxies:
    """Says once for each proxy that it can't be used, and why; requests that need it fail, and may succeed later."""

    def __init__(self) -> None:
        self._said: set[str | None] = set()

    def made(self, make: Callable[[], Transport], *, proxy: str | None) -> Transport:
        """Return the transport that `make` makes.

        Raises:
            httpx.ProxyError: The proxy can't be used; sending without it is not what the environment asks for.
        """
        try:
            return make()
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            if proxy is None:
                raise
            if proxy not in self._said:
                self._said.add(proxy)
                missing = isinstance(error, ImportError)
                logger.warning(
                    "The proxy %s can't be used, so nothing reaches Langfuse: %s. Fix: %s, change HTTP_PROXY, "
                    "HTTPS_PROXY or ALL_PROXY, or name Langfuse's host in NO_PROXY.",
                    _without_user(proxy),
                    "the package socksio is missing" if missing else readable(str(error)).rstrip("."),
                    "pip install 'httpx[socks]'" if missing else "use http://HOST:PORT",
                )
            raise httpx.ProxyError(f"The proxy {_without_user(proxy)} can't be used.") from None


def _without_user(proxy: str) -> str:
    scheme, separator, rest = proxy.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
