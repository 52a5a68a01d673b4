"""The environment of a child process that cannot reach the real Langfuse, in whatever language it is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

#: Holds the `sitecustomize` module that every Python below a captured test runs at its start.
CHILD = Path(__file__).with_name("child")
#: Where a child finds the address to which its clients and exporters send, whatever address they are given.
URL = "PYTEST_LANGFUSE_URL"
#: Where a child finds the endpoints that it must not reach, one a line: host and port, then what they belong to.
KNOWN = "PYTEST_LANGFUSE_KNOWN"
#: Where a child finds the file to which it appends the connections that were refused.
REFUSED = "PYTEST_LANGFUSE_REFUSED"
#: Addresses of this machine that the test itself has given to a child, separated by blanks.
GIVEN = "PYTEST_LANGFUSE_GIVEN"

_ADDRESSES = ("127.0.0.1", "localhost")


class SealedEnvironment(dict[str, str]):
    """The variables of a child process, sealed already: the hooks on the start of processes leave them as they are."""


def handed_over(known: Mapping[tuple[str, int], str], refused: str) -> dict[str, str]:
    """Return the variables for the second line in a child: what it refuses, and the file in which it says so."""
    lines = [
        f"[{host}]:{port} {owner}" if ":" in host else f"{host}:{port} {owner}" for (host, port), owner in known.items()
    ]
    return {KNOWN: "\n".join(lines), REFUSED: refused}


def sealed(variables: Mapping[str, str], url: str, others: Mapping[str, str]) -> SealedEnvironment:
    """Return `variables` with the addresses of Langfuse and of OTLP exporters replaced by the one of the stand-in.

    `others` are added (see `handed_over`).

    Requests to this machine bypass any proxy, and Python runs our `sitecustomize` first.
    """
    return SealedEnvironment(
        {
            **variables,
            **stand_in_variables(url),
            **without_proxy(variables),
            "PYTHONPATH": python_path(variables),
            **others,
            URL: url,
        }
    )


def stand_in_variables(url: str) -> dict[str, str]:
    """Return every variable that names a Langfuse or an OTLP endpoint, with the stand-in's at `url`."""
    otlp = f"{url}/api/public/otel"
    return {
        "LANGFUSE_BASE_URL": url,
        "LANGFUSE_HOST": url,
        # LiteLLM's callback reads this one first.
        "LANGFUSE_OTEL_HOST": url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp,
        **{
            f"OTEL_EXPORTER_OTLP_{kind.upper()}_ENDPOINT": f"{otlp}/v1/{kind}" for kind in ("traces", "metrics", "logs")
        },
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    }


def without_proxy(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep requests to this machine away from a proxy.

    Both spellings, each with what the other one says if it is missing: Python and curl prefer the lower-case one, Go
    the other.
    """
    upper, lower = variables.get("NO_PROXY"), variables.get("no_proxy")
    return {
        "NO_PROXY": _with_this_machine(upper if upper is not None else lower),
        "no_proxy": _with_this_machine(lower if lower is not None else upper),
    }


def _with_this_machine(hosts: str | None) -> str:
    listed = [host.strip() for host in (hosts or "").split(",") if host.strip()]
    if "*" in listed:
        return ",".join(listed)
    return ",".join([*listed, *(host for host in _ADDRESSES if host not in listed)])


def python_path(variables: Mapping[str, str]) -> str:
    """Return the `PYTHONPATH` with our `sitecustomize` in front."""
    others = [entry for entry in variables.get("PYTHONPATH", "").split(os.pathsep) if entry != str(CHILD)]
    return os.pathsep.join([str(CHILD), *others] if others != [""] else [str(CHILD)])


def is_loopback(url: str) -> bool:
    """Return whether `url` names this machine: a loopback address, `localhost`, or a name below `.localhost`."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
        return host == "localhost" or host.endswith(".localhost") or ip_address(host).is_loopback
    except ValueError:
        return False
