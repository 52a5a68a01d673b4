"""Prompts: versions, labels, and prompts that refer to prompts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from threading import RLock
from typing import Any, Literal

import httpx

from pytest_langfuse.standin.endpoints.api_call import (
    ApiCall,
    Endpoint,
    Issue,
    invalid_data,
    invalid_request,
    not_found,
)
from pytest_langfuse.standin.endpoints.prompt_rules import prompt_issues
from pytest_langfuse.standin.endpoints.query_values import page_of, time_of
from pytest_langfuse.standin.endpoints.stored_prompt import PRODUCTION, StoredPrompt

_LATEST = "latest"
#: Prompts on a page of the list, unless `limit` says otherwise: fewer than on those of other lists.
_DEFAULT_LIMIT = 10
#: `PromptService.resolvePrompt` of the server.
_MAX_NESTING = 5
_REFERENCE = re.compile(
    r"@@@langfusePrompt:name=(?P<name>[^|@]+)\|(?:version=(?P<version>\d+)|label=(?P<label>[^@]+))@@@"
)


class Prompts:
    """All prompts of the project. Rules of the server: a label is on one version, `latest` on the highest."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self._by_name: dict[str, dict[int, StoredPrompt]] = {}

    def __iter__(self) -> Iterator[StoredPrompt]:
        with self._lock:
            return iter([prompt for versions in self._by_name.values() for prompt in versions.values()])

    def clear(self) -> None:
        """Forget all prompts."""
        with self._lock:
            self._by_name.clear()

    def snapshot(self) -> list[StoredPrompt]:
        """All prompts, for `restore`."""
        return list(self)

    def restore(self, snapshot: Sequence[StoredPrompt]) -> None:
        """Have exactly the prompts of `snapshot`."""
        with self._lock:
            self._by_name.clear()
            for prompt in snapshot:
                self._by_name.setdefault(prompt.name, {})[prompt.version] = prompt

    def add(self, prompt: StoredPrompt) -> StoredPrompt:
        """Store a version (or replace it) and take its labels from the others."""
        with self._lock:
            versions = self._by_name.setdefault(prompt.name, {})
            versions[prompt.version] = prompt
            newest = max(versions)
            for version, other in list(versions.items()):
                labels = [label for label in other.labels if label != _LATEST]
                if version != prompt.version:
                    labels = [label for label in labels if label not in prompt.labels]
                if version == newest:
                    labels.append(_LATEST)
                versions[version] = replace(other, labels=tuple(dict.fromkeys(labels)))
            return versions[prompt.version]

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this resource."""
        return [
            Endpoint("GET", "/v2/prompts", self._list),
            Endpoint("POST", "/v2/prompts", self._create),
            Endpoint("GET", "/v2/prompts/{name}", self._get),
            Endpoint("DELETE", "/v2/prompts/{name}", self._delete),
            Endpoint("PATCH", "/v2/prompts/{name}/versions/{version}", self._label),
        ]

    def id_of(self, name: str | None, version: int | None) -> str | None:
        """Return the id of a version of a prompt; `None` if there is none."""
        found = None if name is None or version is None else self._find(name, version, None)
        return None if found is None else found.id

    def _find(self, name: str, version: int | None, label: str | None) -> StoredPrompt | None:
        with self._lock:
            versions = self._by_name.get(name, {})
            if version is not None:
                return versions.get(version)
            wanted = label or PRODUCTION
            return next((prompt for prompt in versions.values() if wanted in prompt.labels), None)

    def _get(self, call: ApiCall) -> httpx.Response:
        name, label = call.segments["name"], call.query.get("label")
        version = _version(call)
        if version is not None and label:
            raise invalid_request("Cannot specify both version and label")
        prompt = self._find(name, version, label)
        if prompt is None:
            which = f"version {version}" if version is not None else f"label '{label or PRODUCTION}'"
            raise not_found(f"Prompt not found: '{name}' with {which}")
        answer = prompt.as_json()
        if call.query.get("resolve") != "false":
            answer["prompt"] = self._resolve(prompt.prompt, (name,))
        return httpx.Response(200, json=answer)

    def _resolve(self, content: Any, path: tuple[str, ...]) -> Any:
        """Replace references by the text of the prompt: `@@@langfusePrompt:name=…|label=…@@@`."""
        text = json.dumps(content)
        if "@@@langfusePrompt:" not in text:
            return content

        def insert(match: re.Match[str]) -> str:
            name = json.loads(f'"{match["name"]}"')
            if name in path:
                raise invalid_request(f"Circular dependency detected involving prompt '{name}'")
            if len(path) > _MAX_NESTING:
                raise invalid_request(f"Maximum nesting depth exceeded ({_MAX_NESTING})")
            found = self._find(name, int(match["version"]) if match["version"] else None, match["label"])
            if found is None or found.type != "text":
                raise invalid_request(f"Prompt dependency not found: {match[0]}")
            return json.dumps(self._resolve(found.prompt, (*path, name)))[1:-1]

        return json.loads(_REFERENCE.sub(insert, text))

    def _list(self, call: ApiCall) -> httpx.Response:
        query = call.query
        name, label, tag, version = query.get("name"), query.get("label"), query.get("tag"), _version(call)
        since, before = time_of(query, "fromUpdatedAt"), time_of(query, "toUpdatedAt")
        records = []
        with self._lock:
            for prompt_name, versions in sorted(self._by_name.items()):
                chosen = [
                    prompt
                    for prompt in versions.values()
                    if (not name or name == prompt_name)
                    and version in {None, prompt.version}
                    and (not label or label in prompt.labels)
                    and (not tag or tag in prompt.tags)
                    and (since is None or datetime.fromisoformat(prompt.created_at) >= since)
                    and (before is None or datetime.fromisoformat(prompt.created_at) < before)
                ]
                if chosen:
                    records.append(_summary(prompt_name, chosen))
        data, meta = page_of(query, records, default=_DEFAULT_LIMIT)
        # The same twice: the older of the two names stays for older clients.
        return httpx.Response(200, json={"data": data, "meta": meta, "pagination": meta})

    def _create(self, call: ApiCall) -> httpx.Response:
        body = call.fields()
        name = call.text(body, "name")
        if issues := [*prompt_issues(body)]:
            raise invalid_data(*issues)
        kind: Literal["text", "chat"] = "chat" if body.get("type") == "chat" else "text"
        if not isinstance(body.get("prompt"), list if kind == "chat" else str):
            expected = "array" if kind == "chat" else "string"
            raise invalid_data(Issue(("prompt",), f"Invalid input: expected {expected}", "invalid_type"))
        with self._lock:
            # What it refers to has to be there, and must not refer back to it.
            self._resolve(body["prompt"], (name,))
            versions = self._by_name.get(name, {})
            newest = versions[max(versions)] if versions else None
            if newest is not None and newest.type != kind:
                raise invalid_request(
                    "Previous versions have different prompt type. Create a new prompt with a different name."
                )
            tags = body.get("tags")
            if tags is not None:
                # Tags are those of the prompt: a new version sets them on all others, and no tags are tags, too.
                for version, other in versions.items():
                    versions[version] = replace(other, tags=tuple(dict.fromkeys(tags)))
            stored = self.add(
                StoredPrompt(
                    name=name,
                    version=newest.version + 1 if newest else 1,
                    prompt=body["prompt"],
                    type=kind,
                    labels=tuple(body.get("labels") or ()),
                    tags=tuple(dict.fromkeys(tags if tags is not None else newest.tags if newest else ())),
                    config=body.get("config") or {},
                    commit_message=body.get("commitMessage"),
                )
            )
        return httpx.Response(201, json=stored.as_json())

    def _label(self, call: ApiCall) -> httpx.Response:
        name, version = call.segments["name"], call.segments["version"]
        labels = call.fields().get("newLabels")
        if not isinstance(labels, list) or _LATEST in labels:
            message = "Label 'latest' is always assigned to the latest prompt version"
            raise invalid_data(Issue(("newLabels",), message))
        with self._lock:
            prompt = self._find(name, int(version) if version.isdigit() else -1, None)
            if prompt is None:
                raise not_found(f"Prompt not found: {name}")
            stored = self.add(replace(prompt, labels=(*prompt.labels, *labels)))
        return httpx.Response(200, json=stored.as_json())

    def _delete(self, call: ApiCall) -> httpx.Response:
        name, version, label = call.segments["name"], _version(call), call.query.get("label")
        with self._lock:
            versions = self._by_name.get(name, {})
            doomed = [
                number
                for number, prompt in versions.items()
                if version in {None, number} and (label is None or label in prompt.labels)
            ]
            if not doomed:
                raise not_found("Prompt not found")
            for number in doomed:
                del versions[number]
            if versions:
                self.add(versions[max(versions)])
            else:
                del self._by_name[name]
        return httpx.Response(204)


def _version(call: ApiCall) -> int | None:
    text = call.query.get("version")
    if text is None or text == "":
        return None
    if not text.isdigit():
        raise invalid_data(Issue(("version",), "Invalid input: expected number", "invalid_type"))
    return int(text)


def _summary(name: str, prompts: Sequence[StoredPrompt]) -> dict[str, Any]:
    newest = max(prompts, key=lambda prompt: prompt.version)
    return {
        "name": name,
        "type": newest.type,
        "versions": sorted(prompt.version for prompt in prompts),
        "labels": sorted({label for prompt in prompts for label in prompt.labels}),
        "tags": list(newest.tags),
        "lastUpdatedAt": newest.created_at,
        "lastConfig": newest.config,
    }
