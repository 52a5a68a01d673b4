"""The stand-in Langfuse: it answers the REST and OTLP requests of the SDKs and shows what they sent."""

from __future__ import annotations

import base64
import hmac
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from pytest_langfuse import arguments
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.score import Score, latest
from pytest_langfuse.standin.adds_prompts import AddsPrompts
from pytest_langfuse.standin.endpoints import project
from pytest_langfuse.standin.endpoints.api_call import ApiCall, Refusal
from pytest_langfuse.standin.endpoints.endpoint_table import EndpointTable
from pytest_langfuse.standin.endpoints.experiment_list import ExperimentList
from pytest_langfuse.standin.endpoints.media import STORE_PATH, StoredMedia
from pytest_langfuse.standin.endpoints.observation_list import ObservationList
from pytest_langfuse.standin.endpoints.score_list import ScoreList
from pytest_langfuse.standin.endpoints.scores import Scores
from pytest_langfuse.standin.endpoints.session_list import SessionList
from pytest_langfuse.standin.endpoints.stored_prompt import StoredPrompt
from pytest_langfuse.standin.endpoints.trace_list import TraceList
from pytest_langfuse.standin.endpoints.traces import Traces
from pytest_langfuse.standin.exported import Exported
from pytest_langfuse.standin.project_contents import ProjectContents
from pytest_langfuse.standin.received_export import ReceivedExport

_API = "/api/public"
#: Requests that `StandIn.requests` remembers: enough to look at, not enough to fill the memory of a long session.
_REMEMBERED = 1000
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """A request that was answered. `path` includes the query; secrets in `headers` are redacted."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]


class StandIn(AddsPrompts):
    """Answers as Langfuse does: `stand_in(request) -> response`. No sockets; thread-safe.

    With `public_key` and `secret_key`, it refuses other keys (401); without, it accepts every client. Prompts exist
    if a test added them (`prompt`) or the app created them over the API. An endpoint that no SDK needs is answered
    with a 404 that names it.

    Raises:
        TypeError: a key is not a text.
        ValueError: a key is empty, or one is given without the other.
    """

    def __init__(self, *, public_key: str | None = None, secret_key: str | None = None) -> None:
        __tracebackhide__ = True
        for name, key in (("public_key", public_key), ("secret_key", secret_key)):
            if key is not None:
                # Not shown: it may be a secret.
                arguments.text("StandIn", name, key, expected="a key, or None", filled=True, secret=True)
        if (public_key is None) != (secret_key is None):
            raise ValueError("StandIn(): public_key and secret_key belong together")
        self._credentials: bytes | None = None
        if public_key is not None or secret_key is not None:
            self._credentials = base64.b64encode(f"{public_key or ''}:{secret_key or ''}".encode())
        self._has(ProjectContents())

    def _has(self, contents: ProjectContents) -> None:
        self._contents, self._lock = contents, contents.lock
        self._scores = Scores(self._lock)
        self._prompts, self._media, self._datasets = contents.prompts, contents.media, contents.datasets
        self._traces = Traces(self._lock)
        self._exported = Exported(self._lock, lambda: self._traces.exports)
        observations = ObservationList(self._exported, self._prompts.id_of)
        self._requests: deque[AnsweredRequest] = deque(maxlen=_REMEMBERED)
        self._api = EndpointTable(
            [
                *project.endpoints(),
                *self._scores.endpoints(),
                *self._prompts.endpoints(),
                *self._media.endpoints(),
                *self._datasets.endpoints(),
                *self._traces.endpoints(),
                *observations.endpoints(),
                *TraceList(self._exported, observations, self._scores).endpoints(),
                *SessionList(self._exported).endpoints(),
                *ExperimentList(self._exported, self._scores).endpoints(),
                *ScoreList(self._scores, self._exported).endpoints(),
            ]
        )
        self._store = EndpointTable(self._media.store_endpoints())

    def of_same_project(self) -> StandIn:
        """Return another one with the same prompts, media and datasets, which keeps what is sent to it for itself."""
        other = StandIn()
        other._credentials = self._credentials
        other._has(self._contents)
        return other

    # -- contents ---------------------------------------------------------------------------------------------

    @property
    def scores(self) -> list[Score]:
        """Scores as Langfuse shows them: one of each id, the last one sent."""
        with self._lock:
            return latest(self._scores.log)

    @property
    def score_log(self) -> Sequence[Score]:
        """Every score that was accepted, in order of arrival; grows until `reset`."""
        with self._lock:
            return list(self._scores.log)

    @property
    def prompts(self) -> list[StoredPrompt]:
        """All versions of all prompts."""
        return list(self._prompts)

    @property
    def media(self) -> list[StoredMedia]:
        """All media assets, including those that were not uploaded (`content is None`)."""
        return list(self._media)

    def find_media(self, id_: str) -> StoredMedia | None:
        """Return a media asset, or `None` if there is none of the id."""
        return self._media.find(id_)

    @property
    def datasets(self) -> list[dict[str, Any]]:
        """All datasets, as the API shows them."""
        with self._lock:
            return list(self._datasets.datasets.values())

    @property
    def exports(self) -> list[ReceivedExport]:
        """OTLP exports that were accepted, in order of arrival."""
        with self._lock:
            return list(self._traces.exports)

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of `exports`, decompressed (see `pytest_langfuse.recording.decode_otlp`)."""
        return [export.body for export in self.exports]

    @property
    def requests(self) -> list[AnsweredRequest]:
        """The last requests that were answered, oldest first."""
        with self._lock:
            return list(self._requests)

    def add_prompt(self, prompt: StoredPrompt) -> StoredPrompt:
        """Keep a prompt, which replaces one of the same name and version; return it as it is kept."""
        return self._prompts.add(prompt)

    @contextmanager
    def prompts_restored(self) -> Iterator[None]:
        """Restore all prompts after the block as they were before it."""
        before = self._prompts.snapshot()
        try:
            yield
        finally:
            self._prompts.restore(before)

    @contextmanager
    def exports_shown_to(self, listener: Callable[[ReceivedExport], None]) -> Iterator[None]:
        """Call `listener` with each export that is accepted inside the block, before its sender gets the answer."""
        self._traces.listeners.append(listener)
        try:
            yield
        finally:
            self._traces.listeners.remove(listener)

    @contextmanager
    def also_showing(self, recorded: Callable[[], Sequence[Observation]]) -> Iterator[None]:
        """Answer requests for observations, inside the block, also with those that `recorded` returns."""
        with self._exported.recorded_by(recorded):
            yield

    def forget_sent(self) -> None:
        """Forget spans and scores, and keep prompts, media and datasets."""
        with self._lock:
            self._scores.log.clear()
            self._traces.exports.clear()
            self._exported.clear()

    def reset(self) -> None:
        """Forget everything that was sent or added, also what is shared."""
        self.forget_sent()
        self._contents.clear()
        with self._lock:
            self._requests.clear()

    @property
    def endpoints(self) -> list[str]:
        """Method and path of all endpoints of the API that are answered."""
        return [f"{endpoint.method} {_API}{endpoint.path}" for endpoint in self._api]

    # -- answering ---------------------------------------------------------------------------------------------

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a request whose body was read."""
        try:
            response = self._answer(request)
        except Refusal as refusal:
            response = refusal.answer()
        response.request = request
        headers = {
            name: "[redacted]" if name.lower() in _SECRET_HEADERS else value for name, value in request.headers.items()
        }
        path = request.url.raw_path.decode("ascii", "replace")
        with self._lock:
            self._requests.append(AnsweredRequest(request.method, path, response.status_code, headers))
        return response

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.split(b"?", 1)[0].decode("ascii", "replace")
        # A base URL may have a path (Langfuse behind a reverse proxy).
        for mount, table in ((_API, self._api), (STORE_PATH, self._store)):
            prefix, found, rest = path.partition(f"{mount}/")
            if not found:
                continue
            endpoint, segments = table.find(request.method, rest)
            if endpoint is None:
                if table.knows(rest):
                    raise Refusal(405, "Method not allowed", "MethodNotAllowedError")
                break
            if endpoint.authenticated:
                self._check_credentials(request)
            call = ApiCall(request, prefix, segments)
            if endpoint.limit is not None and len(request.content) > endpoint.limit:
                return _too_large(endpoint.limit)
            return endpoint.answer(call)
        raise Refusal(
            404,
            f"The stand-in Langfuse has no endpoint {request.method} {path}; "
            f"a route of langfuse_api can answer it: langfuse_api.route(method={request.method!r}, path={path!r})",
            "LangfuseNotFoundError",
        )

    def _check_credentials(self, request: httpx.Request) -> None:
        if self._credentials is None:
            return
        header = request.headers.get("authorization")
        if not header:
            raise Refusal(401, "No authorization header")
        scheme, _, credentials = header.partition(" ")
        if scheme != "Basic":
            raise Refusal(401, "Invalid authorization header")
        if not hmac.compare_digest(credentials.encode(), self._credentials):
            raise Refusal(401, "Invalid credentials. Confirm that you've configured the correct host.")


def _too_large(limit: int) -> httpx.Response:
    # The answer of Next.js, in which Langfuse runs.
    return httpx.Response(413, text=f"Body exceeded {limit / 1024 / 1024:g}mb limit")
