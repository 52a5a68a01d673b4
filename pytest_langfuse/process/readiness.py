"""The check whether a server answers."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import urlsplit

from pytest_langfuse.arguments import shown

#: Seconds that one attempt may take.
_ATTEMPT_TIMEOUT = 2.0
_FIRST_SERVER_ERROR = 500


def why_not_ready(url: str, timeout: float) -> str | None:
    """Return why a GET of `url` failed within `timeout` seconds; `None` if the answer has a status below 500.

    Proxies, redirects and certificate checks are skipped: the server runs on this machine.
    """
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    seconds = max(0.01, min(timeout, _ATTEMPT_TIMEOUT))
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=seconds, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        connection.request("GET", target, headers={"Connection": "close"})
        status = connection.getresponse().status
    except OSError as error:
        return error.strerror or type(error).__name__
    except http.client.HTTPException as error:
        return f"the answer is not HTTP: {type(error).__name__}"
    finally:
        connection.close()
    return f"status {status}" if status >= _FIRST_SERVER_ERROR else None


def check_url(url: str) -> None:
    """Raise `ValueError` unless `url` is an HTTP URL with a host."""
    __tracebackhide__ = True
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"wait_ready needs a URL such as 'http://127.0.0.1:{{port}}/' or a path, not {shown(url)}")
