"""The client of an SQS queue, and what its errors mean. botocore is imported when a client is asked for."""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pytest_langfuse.tracing.config import ConfigError
from pytest_langfuse.tracing.delivery.retry_after import seconds_to_wait
from pytest_langfuse.tracing.delivery.sink import Outcome, Verdict
from pytest_langfuse.tracing.untraced import untraced

#: Where nothing names a region: servers that are compatible with SQS want one in the signature.
_REGION: Final = "us-east-1"
_REGION_OF_HOST: Final = re.compile(
    r"(?:^|\.)(?:sqs|sqs-fips)\.([a-z]{2}(?:-[a-z]+)+-\d+)\.|^([a-z0-9-]+-\d+)\.queue\."
)
_DEFAULT_ENDPOINT: Final = "queue.amazonaws.com"
_LIMIT: Final = re.compile(r"(?:shorter|smaller|less|larger|longer|greater|at most|exceed).*?(\d{4,}) bytes")
_SUFFIX: Final = re.compile(r"(?:Error|Exception|Fault)$")

#: Errors by what they mean, in the form of `_snake`.
_THROTTLED: Final = frozenset(
    {
        "throttling",
        "throttled",
        "request_throttled",
        "too_many_requests",
        "request_limit_exceeded",
        "limit_exceeded",
        "bandwidth_limit_exceeded",
        "slow_down",
        "over_limit",
        "kms_throttled",
        "kms_throttling",
        "http_429",
    }
)
_DENIED: Final = frozenset(
    {
        "access_denied",
        "auth_failure",
        "expired_token",
        "http_401",
        "http_403",
        "incomplete_signature",
        "invalid_access_key_id",
        "invalid_client_token_id",
        "invalid_security",
        "invalid_signature",
        "kms_access_denied",
        "missing_authentication_token",
        "not_authorized",
        "opt_in_required",
        "signature_does_not_match",
        "unrecognized_client",
    }
)
_MISSING: Final = frozenset({"queue_does_not_exist", "non_existent_queue"})
_WITHOUT_CREDENTIALS: Final = frozenset(
    {
        "credential_retrieval",
        "no_auth_token",
        "no_credentials",
        "partial_credentials",
        "profile_not_found",
        "sso_token_load",
        "token_retrieval",
        "unauthorized_sso_token",
    }
)
#: Classes of botocore, which is not imported here.
_OF_CONNECTION: Final = frozenset({"HTTPClientError", "ConnectionError"})
_TOO_LARGE: Final = frozenset({"batch_request_too_long", "request_entity_too_large", "http_413"})
#: The queue or its key is at fault, whatever SQS says of the sender: the message can be sent when that is mended.
_OF_QUEUE: Final = ("kms_", "invalid_address", "missing_parameter", "queue_", "unsupported_operation")

NO_ANSWER: Final = Outcome(Verdict.FAILED, "sqs_no_answer", detail="the answer does not name the message")


class SqsClient:
    """A client of botocore's, made in the process and in the thread that first uses it. Thread-safe.

    Raises:
        ConfigError: boto3 is not installed.
    """

    def __init__(
        self, queue_url: str, *, timeout: float, connections: int, credentials: tuple[str, str] | None = None
    ) -> None:
        try:
            # Also what the first request imports: not by threads, one of which may be in it when the process forks.
            import botocore.config
            import botocore.session
        except ImportError as error:
            raise ConfigError(f"SQS needs boto3 ({error}). Fix: pip install 'pytest-langfuse[sqs]'.") from None
        self._botocore: Any = botocore
        self.queue_url = queue_url
        self._timeout, self._connections = timeout, connections
        self._keys = dict(zip(("aws_access_key_id", "aws_secret_access_key"), credentials or (), strict=False))
        self._lock = threading.Lock()
        self._client: Any = None
        #: Clients of a parent process, which are not to be destroyed here.
        self._of_parent: list[Any] = []

    def call(self, operation: str, *, queue_url: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call an operation of SQS by botocore's name for its method, on this queue if no other is given.

        Nothing is tried a second time: the breaker and the pauses of the sender decide about that.

        Raises:
            Exception: Whatever botocore raises; `outcome_of` tells what it means.
        """
        client = self.made()
        with untraced():
            answer: dict[str, Any] = getattr(client, operation)(QueueUrl=queue_url or self.queue_url, **parameters)
            return answer

    def made(self) -> Any:
        """Return botocore's client. Making it may ask other services for credentials."""
        with self._lock, untraced():
            if self._client is None:
                session = self._botocore.session.get_session()
                session.register_component("data_loader", _loader(self._botocore))
                address = urlsplit(self.queue_url)
                region = region_of(address.hostname or "") or os.environ.get("AWS_REGION")
                self._client = session.create_client(
                    "sqs",
                    region_name=region or session.get_config_variable("region") or _REGION,
                    endpoint_url=f"{address.scheme}://{address.netloc}",
                    config=self._botocore.config.Config(
                        connect_timeout=self._timeout,
                        read_timeout=self._timeout,
                        retries={"total_max_attempts": 1, "mode": "standard"},
                        max_pool_connections=self._connections,
                        tcp_keepalive=True,
                    ),
                    **self._keys,
                )
            return self._client

    def renew(self) -> None:
        """Read the credentials again before the next call: those of the client are missing, or not valid any more."""
        with self._lock:
            self._client = None

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def after_fork(self) -> None:
        """In a forked child: leave the parent's client alone."""
        self._lock = threading.Lock()
        self._of_parent.append(self._client)
        self._client = None


@functools.cache
def _loader(botocore: Any) -> Any:
    """Return what has read the description of SQS: that is most of the time in which a client is made."""
    return botocore.session.get_session().get_component("data_loader")


def region_of(host: str) -> str | None:
    """Return the region that the host of a queue's URL names."""
    if host == _DEFAULT_ENDPOINT:
        return _REGION
    found = _REGION_OF_HOST.search(host)
    return (found[1] or found[2]) if found else None


def outcome_of(error: BaseException) -> Outcome:
    """Return what an error of botocore's means for all that was sent with the request."""
    answer: Any = getattr(error, "response", None)
    if not isinstance(answer, Mapping):
        name = _snake(type(error).__name__)
        reason = "no_credentials" if name in _WITHOUT_CREDENTIALS else name
        return Outcome(Verdict.FAILED, f"sqs_{reason}", detail=str(error), unreachable=_of_connection(error))
    metadata = answer.get("ResponseMetadata") or {}
    said = answer.get("Error") or {}
    code = _code(str(said.get("Code") or ""), metadata.get("HTTPStatusCode"))
    detail = str(said.get("Message") or "")
    if code in _TOO_LARGE or most_bytes(detail) is not None:
        return Outcome(Verdict.TOO_LARGE, "message_too_large", detail=detail)
    wait = (metadata.get("HTTPHeaders") or {}).get("retry-after", "")
    return Outcome(Verdict.FAILED, f"sqs_{_usual(code)}", detail=detail, retry_after=seconds_to_wait(wait))


def _of_connection(error: BaseException) -> bool:
    """Return whether an error is one of botocore's about connections, or of the operating system."""
    return isinstance(error, OSError) or any(base.__name__ in _OF_CONNECTION for base in type(error).__mro__)


def outcome_of_entry(failed: Mapping[str, Any]) -> Outcome:
    """Return what a failed entry of a batch means for its message."""
    code, detail = _code(str(failed.get("Code") or ""), None), str(failed.get("Message") or "")
    if code in _TOO_LARGE or most_bytes(detail) is not None:
        return Outcome(Verdict.TOO_LARGE, "message_too_large", detail=detail)
    usual = _usual(code)
    kept = code in _THROTTLED | _DENIED | _MISSING or code.startswith(_OF_QUEUE) or not failed.get("SenderFault")
    return Outcome(Verdict.FAILED if kept else Verdict.REFUSED, f"sqs_{usual}", detail=detail)


def most_bytes(detail: str) -> int | None:
    """Return the size of a message that an error says the queue takes."""
    found = _LIMIT.search(detail)
    return int(found[1]) if found else None


def without_valid_credentials(outcome: Outcome) -> bool:
    """Return whether other credentials may have another outcome."""
    return outcome.reason in {"sqs_no_credentials", "sqs_access_denied"}


def _usual(code: str) -> str:
    if code in _THROTTLED:
        return "throttled"
    if code in _DENIED:
        return "access_denied"
    return "queue_does_not_exist" if code in _MISSING else code


def _code(code: str, status: Any) -> str:
    """Return the code of an error in snake case; botocore uses the status where an answer has none."""
    # "AWS.SimpleQueueService.NonExistentQueue", "com.amazonaws.sqs#QueueDoesNotExist", "KMS.ThrottlingException"
    code = re.split(r"[#/]", code.removeprefix("AWS.SimpleQueueService."))[-1]
    if not code or code.isdecimal() or code == "Unknown":
        return f"http_{code if code.isdecimal() else status}"
    return _snake(code)


def _snake(name: str) -> str:
    name = _SUFFIX.sub("", name) or name
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:60]
