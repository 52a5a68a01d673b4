"""The prompts, media and datasets of a project of Langfuse: what it holds apart from what is sent to it."""

from __future__ import annotations

import threading

from pytest_langfuse.standin.endpoints.datasets import Datasets
from pytest_langfuse.standin.endpoints.media import MediaAssets
from pytest_langfuse.standin.endpoints.prompts import Prompts


class ProjectContents:
    """The prompts, media and datasets of one stand-in, or of several that are one project."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.prompts = Prompts(self.lock)
        self.media = MediaAssets(self.lock)
        self.datasets = Datasets(self.lock, self.media.reference)

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            self.prompts.clear()
            self.media.clear()
            self.datasets.clear()
