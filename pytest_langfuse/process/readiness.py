"""Whether a server answers."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import urlsplit

#: Seconds that one try may take.
_PATIENCE = 2.0
_FIRST_SERVER_ERROR = 500


def why_not_ready(url: str, timeout: float) -> str | None:
    """What a GET of `url` met within `timeout` seconds; `None` if it was answered, with a status below 500.

    No proxy, no redirects, no certificates checked: the server is one of this machine.
    """
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    patience = max(0.01, min(timeout, _PATIENCE))
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=patience, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=patience)
    try:
        connection.request("GET", target, headers={"Connection": "close"})
        status = connection.getresponse().status
    except OSError as error:
        return error.strerror or type(error).__name__
    except http.client.HTTPException as error:
        return f"no answer in HTTP ({type(error).__name__})"
    finally:
        connection.close()
    return f"status {status}" if status >= _FIRST_SERVER_ERROR else None


def check_url(url: str) -> None:
    """Raise `ValueError` if `url` is none that can be asked."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"wait_ready needs a URL such as 'http://127.0.0.1:{{port}}/', or a path, not {url!r}")
