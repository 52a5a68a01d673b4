"""The beginnings of files that are made of a run: one that begins so may be replaced by the next run."""

from __future__ import annotations

from typing import Final

from pytest_langfuse.recording.sources.json_lines import FIRST_KINDS

LINES: Final = tuple(b'{"kind": "%s"' % kind for kind in FIRST_KINDS)
_HEAD: Final = b'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
PAGE: Final = (_HEAD + b'<meta name="generator" content="pytest-langfuse ',)
