"""One version of a prompt, as it is kept and shown."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_langfuse.standin.endpoints.api_call import now
from pytest_langfuse.standin.endpoints.project import PROJECT_ID

#: The label of the version that is used when none is asked for.
PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class StoredPrompt:
    """One version of a prompt. `prompt` is a string (`type="text"`) or a list of messages (`type="chat"`)."""

    name: str
    version: int
    prompt: Any
    type: Literal["text", "chat"]
    labels: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    config: Any = field(default_factory=dict)
    commit_message: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: str = field(default_factory=now)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON of the API."""
        return {
            "id": self.id,
            "createdAt": self.created_at,
            "updatedAt": self.created_at,
            "projectId": PROJECT_ID,
            "createdBy": "API",
            "prompt": self.prompt,
            "name": self.name,
            "version": self.version,
            "type": self.type,
            "isActive": PRODUCTION in self.labels,
            "config": self.config,
            "tags": list(self.tags),
            "labels": list(self.labels),
            "commitMessage": self.commit_message,
            "resolutionGraph": None,
        }
