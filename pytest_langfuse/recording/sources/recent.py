"""Recent traces of a Langfuse, by the client that the environment configures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.api import fetch_trace, observations_since

if TYPE_CHECKING:
    from langfuse import Langfuse

_KEYS: Final = ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")
#: How many observations are read at most.
MOST: Final = 100_000
_PAGE: Final = 100


class NotReachable(Exception):  # noqa: N818 - reads as what happened
    """Langfuse can't be asked; the message says why."""


def client_of_environment() -> Langfuse:
    """Return a client of the SDK that reads, with keys and address from `LANGFUSE_*`.

    Raises:
        NotReachable: the keys are not set.
    """
    if missing := [name for name in _KEYS if not os.environ.get(name)]:
        raise NotReachable(f"set {' and '.join(missing)} to read traces from Langfuse")
    # Imported here: files are read without the SDK.
    from langfuse import Langfuse

    return Langfuse(tracing_enabled=False)


def fetch(client: Langfuse, trace_id: str) -> list[Observation]:
    """Return the observations of a trace.

    Raises:
        LookupError: Langfuse has no such trace (yet).
        NotReachable: Langfuse can't be reached, or refuses the keys.
    """
    with _explained():
        return fetch_trace(client, trace_id)


def fetch_since(client: Langfuse, ago: timedelta, tell: Callable[[str], None]) -> list[Observation]:
    """Return the observations of the traces that were active since some time ago; `tell` is told what is left out.

    A trace that has started before is read as a whole, with langfuse 5; with langfuse 4 it is left out.

    Raises:
        NotReachable: Langfuse can't be reached, or refuses the keys.
    """
    since = datetime.now(UTC) - ago
    with _explained():
        trace_api: Any = client.api.trace
        if hasattr(trace_api, "get"):
            found = []
            for trace_id in _trace_ids(trace_api, since, tell):
                # A trace that has a score and nothing else is listed, too.
                with suppress(LookupError):
                    found += fetch_trace(client, trace_id)
            return found
        found = observations_since(client, since, MOST)
        if len(found) == MOST:
            tell(f"only the newest {MOST:,} observations are checked")
        ids = {one.id for one in found}
        cut = {one.trace_id for one in found if one.parent_id and one.parent_id not in ids}
        whole = [one for one in found if one.trace_id not in cut]
        return whole + [one for trace_id in sorted(cut) for one in fetch_trace(client, trace_id)]


def _trace_ids(trace_api: Any, since: datetime, tell: Callable[[str], None]) -> Iterator[str]:
    """Yield the ids of recent traces, for langfuse 4."""
    for page in range(1, MOST // _PAGE + 1):
        found = trace_api.list(from_timestamp=since, page=page, limit=_PAGE)
        yield from (trace.id for trace in found.data)
        if len(found.data) < _PAGE:
            return
    tell(f"only the newest {MOST:,} traces are checked")


@contextmanager
def _explained() -> Iterator[None]:
    """Raise errors of the SDK as one sentence."""
    import httpx
    from langfuse.api.core import ApiError

    where = os.environ.get("LANGFUSE_BASE_URL") or os.environ.get("LANGFUSE_HOST") or "https://cloud.langfuse.com"
    try:
        yield
    except httpx.HTTPError as error:
        raise NotReachable(f"{where} can't be reached: {str(error) or type(error).__name__}") from None
    except ApiError as error:
        body = error.body
        said = body.get("message") if isinstance(body, Mapping) else None
        raise NotReachable(f"{where} answers with status {error.status_code}{f': {said}' if said else ''}") from None
