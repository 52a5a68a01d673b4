"""Fields that come from one of several attributes: name, environment, user, session, tags, level, prompt.

(server, 2026-08: the `extract…` methods of `OtelIngestionProcessor`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pytest_langfuse.recording.server_view.javascript import parse_int, parse_json, text, text_or_json, trim, truthy

_LEVELS: Final = {
    "DEBUG": "DEBUG",
    "TRACE": "DEBUG",
    "VERBOSE": "DEBUG",
    "DEFAULT": "DEFAULT",
    "INFO": "DEFAULT",
    "LOG": "DEFAULT",
    "NOTICE": "DEFAULT",
    "OK": "DEFAULT",
    "SUCCESS": "DEFAULT",
    "WARNING": "WARNING",
    "WARN": "WARNING",
    "ERROR": "ERROR",
    "FATAL": "ERROR",
    "CRITICAL": "ERROR",
}
_LIVEKIT_DEBUG: Final = frozenset(
    """
    user_speaking eou_detection llm_request_run tts_node tts_request tts_request_run tts_stream_adapter agent_speaking
    drain_agent_activity on_exit on_enter llm_fallback_adapter tts_fallback_adapter start_agent_activity
    """.split()  # noqa: SIM905 - a list would take a line a name
)

_DEFAULT_ENVIRONMENT: Final = "default"
_JUDGE: Final = "langfuse-llm-as-a-judge"
_ENVIRONMENT_KEYS: Final = ("langfuse.environment", "deployment.environment.name", "deployment.environment")
_RESERVED_PREFIX: Final = re.compile(r"(?:langfuse[-_]?)+")
_ENVIRONMENT: Final = re.compile(r"[a-z0-9_-]+")
_MAX_ENVIRONMENT: Final = 40

_USER_KEYS: Final = (
    "langfuse.user.id",
    "user.id",
    "langfuse.observation.metadata.langfuse_user_id",
    "langfuse.trace.metadata.langfuse_user_id",
    "ai.telemetry.metadata.userId",
)
_SESSION_KEYS: Final = (
    "langfuse.session.id",
    "session.id",
    "gen_ai.conversation.id",
    "langfuse.observation.metadata.langfuse_session_id",
    "langfuse.trace.metadata.langfuse_session_id",
    "ai.telemetry.metadata.sessionId",
)
_TAG_KEYS: Final = (
    "langfuse.trace.tags",
    "langfuse.tags",
    "langfuse.observation.metadata.langfuse_tags",
    "langfuse.trace.metadata.langfuse_tags",
    "ai.telemetry.metadata.tags",
    "tag.tags",
)
_MODEL_KEYS: Final = (
    "gen_ai.response.model",
    "ai.model.id",
    "gen_ai.request.model",
    "llm.response.model",
    "llm.model_name",
    "model",
)
_PROMPT_KEYS: Final = (
    "langfuse.observation.prompt.name",
    "langfuse.observation.prompt.version",
    "langfuse.prompt.name",
    "langfuse.prompt.version",
    "ai.telemetry.metadata.langfusePrompt",
)
_MAX_PROMPT_VERSION: Final = 65_535


def name(frameworks: Mapping[str, Any], span_name: str) -> str:  # noqa: PLR0911 - one a framework
    """Return the name: the span's, unless an attribute of a framework overrides it, even on Langfuse's own spans."""
    if not frameworks:
        return span_name
    if truthy(tool := frameworks.get("gen_ai.tool.name")):
        return text_or_json(tool)
    if "genkit:name" in frameworks:
        return text_or_none(frameworks["genkit:name"]) or ""
    if truthy(message := frameworks.get("logfire.msg")):
        return text_or_json(message)
    if "ai.toolCall.name" in frameworks:
        return text_or_none(frameworks["ai.toolCall.name"]) or ""
    if "ai.operationId" in frameworks:
        function = frameworks.get("ai.telemetry.functionId")
        operation = text(frameworks["ai.operationId"])
        return f"{text(function)}:{operation}" if truthy(function) else operation
    return span_name


def environment(attributes: Mapping[str, Any], resource: Mapping[str, Any]) -> str:
    """Return the environment: lower case, without the prefix `langfuse`, 40 characters, `default` if it is invalid."""
    value = given_environment(attributes, resource)
    return _environment_of_openrouter(attributes, resource) if value is None else stored_environment(value)


def given_environment(attributes: Mapping[str, Any], resource: Mapping[str, Any]) -> Any:
    """Return the environment as it was sent; `None` if there is none."""
    if attributes.keys().isdisjoint(_ENVIRONMENT_KEYS) and resource.keys().isdisjoint(_ENVIRONMENT_KEYS):
        return None
    for key in _ENVIRONMENT_KEYS:
        for source in (attributes, resource):
            value = source.get(key)
            if truthy(value):
                return value
    return None


def _environment_of_openrouter(attributes: Mapping[str, Any], resource: Mapping[str, Any]) -> str:
    """Return the environment of a judge's call through OpenRouter that failed, which is in the request that it echoes.

    (server, 2026-08: `extractOpenRouterFailedRequestEnvironment`)
    """
    if attributes.get("openrouter.source") != "openrouter" or resource.get("service.name") != "openrouter":
        return _DEFAULT_ENVIRONMENT
    completion = attributes.get("gen_ai.completion")
    try:
        echoed = parse_json(completion) if isinstance(completion, str) else None
    except ValueError:
        echoed = None
    if not isinstance(echoed, dict) or echoed.get("completion", "") is not None:
        return _DEFAULT_ENVIRONMENT
    for name in ("rawRequest", "trace"):
        echoed = echoed.get(name)
        if not isinstance(echoed, dict):
            return _DEFAULT_ENVIRONMENT
    return stored_environment(_JUDGE) if echoed.get("environment") == _JUDGE else _DEFAULT_ENVIRONMENT


def stored_environment(value: Any) -> str:
    """Return the environment that Langfuse stores for one that was sent."""
    if not isinstance(value, str):
        return _DEFAULT_ENVIRONMENT
    value = value.lower()
    prefix = _RESERVED_PREFIX.match(value)
    value = (value[prefix.end() :] if prefix else value)[:_MAX_ENVIRONMENT]
    return value if _ENVIRONMENT.fullmatch(value) else _DEFAULT_ENVIRONMENT


def user_id(attributes: Mapping[str, Any]) -> str | None:
    """Return the user. A value from metadata keeps the quotes of its JSON text."""
    return _first(attributes, _USER_KEYS)


def session_id(attributes: Mapping[str, Any]) -> str | None:
    """Return the session, which may come from `gen_ai.conversation.id`."""
    return _first(attributes, _SESSION_KEYS)


def model(attributes: Mapping[str, Any], frameworks: Mapping[str, Any]) -> str | None:
    """Return the model: Langfuse's own attribute, or a framework's. The response model precedes the requested one."""
    found = _first(attributes, ("langfuse.observation.model.name",))
    if found is None and frameworks:
        found = _first(frameworks, _MODEL_KEYS)
        if found is None and frameworks.get("genkit:metadata:subtype") == "model":
            found = _first(frameworks, ("genkit:name",))
    return found


def tags(attributes: Mapping[str, Any]) -> list[str]:
    """Return the tags: from a list, from the JSON text of a list, or from text with commas."""
    if attributes.keys().isdisjoint(_TAG_KEYS):
        return []
    value = None
    for key in _TAG_KEYS:
        value = attributes.get(key)
        if truthy(value):
            break
    if value is None:
        return []
    if isinstance(value, str) and trim(value).startswith("["):
        try:
            parsed = parse_json(value)
        except ValueError:
            parsed = None
        value = parsed if isinstance(parsed, list) else value
    if isinstance(value, list):
        return [text(tag) for tag in value]
    if not isinstance(value, str):
        return []
    return [trim(tag) for tag in value.split(",")] if "," in value else [value]


def level(attributes: Mapping[str, Any], status: str, scope_name: str, span_name: str) -> str:
    """Return the level: that of the attribute, in any case and in other loggers' words, or that of the span status."""
    named = attributes.get("langfuse.observation.level")
    if isinstance(named, str) and (known := _LEVELS.get(trim(named).upper())):
        return known
    if status == "ERROR":
        return "ERROR"
    return "DEBUG" if scope_name == "livekit-agents" and span_name in _LIVEKIT_DEBUG else "DEFAULT"


def prompt(attributes: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """Return name and version of the linked prompt. Only a generation can have one."""
    if attributes.keys().isdisjoint(_PROMPT_KEYS):
        return None, None
    linked = attributes.get("ai.telemetry.metadata.langfusePrompt")
    try:
        parsed = parse_json(text(linked)) if truthy(linked) else None
    except ValueError:
        parsed = None
    vercel = parsed if isinstance(parsed, dict) else {}
    found = _first_set(attributes, ("langfuse.observation.prompt.name", "langfuse.prompt.name"), vercel.get("name"))
    version = parse_int(
        _first_set(
            attributes, ("langfuse.observation.prompt.version", "langfuse.prompt.version"), vercel.get("version")
        )
    )
    # Langfuse shows no version for 0 and for what a UInt16 cannot hold.
    return (
        text_or_none(found),
        int(version) if 0 < version <= _MAX_PROMPT_VERSION else None,
    )


def text_or_none(value: Any) -> str | None:
    """Return the text of an optional column."""
    return None if value is None else text_or_json(value)


def _first(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    # Most observations have none of them, which this says several times as fast.
    if attributes.keys().isdisjoint(keys):
        return None
    for key in keys:
        value = attributes.get(key)
        if truthy(value):
            return text_or_json(value)
    return None


def _first_set(attributes: Mapping[str, Any], keys: tuple[str, ...], otherwise: Any) -> Any:
    return next((attributes[key] for key in keys if attributes.get(key) is not None), otherwise)
