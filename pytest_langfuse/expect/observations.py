"""`Observations`: the observations as Langfuse shows them, with assertions."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

from pytest_langfuse import arguments
from pytest_langfuse.expect.comparison import compare
from pytest_langfuse.expect.errors import LiteralError, TreeMismatch
from pytest_langfuse.expect.literal.name_pattern import name_in_sentence
from pytest_langfuse.expect.literal.parse import parse
from pytest_langfuse.expect.matching.matcher import Order
from pytest_langfuse.expect.propagation import gaps, propagated_key, trace_labels
from pytest_langfuse.expect.sequence import ObservationSequence
from pytest_langfuse.expect.shown_secrets import hidden
from pytest_langfuse.expect.text import failure
from pytest_langfuse.expect.text.not_exported import everything, not_exported, nothing, undelivered
from pytest_langfuse.expect.text.render import render, skeleton
from pytest_langfuse.expect.text.side_by_side import side_by_side
from pytest_langfuse.expect.text.style import current
from pytest_langfuse.expect.wire_search import SearchText, find, masked
from pytest_langfuse.lazy import exported_by
from pytest_langfuse.recording.gc_pause import SIZE, undisturbed
from pytest_langfuse.recording.sources.api import fetch_trace
from pytest_langfuse.recording.sources.files import source_of_body, source_of_file
from pytest_langfuse.recording.sources.part import PartSource
from pytest_langfuse.recording.sources.source import WireBody
from pytest_langfuse.recording.sources.static import StaticSource
from pytest_langfuse.recording.trace import Trace

if TYPE_CHECKING:
    from langfuse import Langfuse

#: Packages whose snapshots are compared with the text.
_SNAPSHOTS = ("inline_snapshot", "syrupy")
#: Rules that look at what an application does, rather than at its traces, have seen nothing.
_NOT_WATCHED = (
    "assert_clean() says nothing about rules that watch the application from the start of the run, such as LF004, "
    "LF013 and LF017. Fix: run pytest with --langfuse-capture, or call assert_clean() in the function of the test"
)


@exported_by("pytest_langfuse")
class Observations(ObservationSequence):
    """Exported observations as Langfuse shows them, in the order in which they started, with assertions.

    Every access reads the source anew, so that `langfuse_spans` always shows the test so far. Failed assertions raise
    `TreeMismatch`, an `AssertionError` that shows both trees and every difference; a literal or selector that cannot
    be read raises `LiteralError`, a `ValueError` that names its line.
    """

    __hash__ = None  # type: ignore[assignment] # it equals literals, which hash by their text

    # -- made from -----------------------------------------------------------------------------------------------

    @classmethod
    def from_otlp(cls, body: bytes, *, encoding: str | None = None) -> Self:
        """Return the observations of an export body: OTLP as protobuf or JSON, gzip or not.

        Raises:
            DecodeError: `body` is not an export body (`pytest_langfuse.recording.DecodeError`, a `ValueError`).
            TypeError: `body` is not bytes, or `encoding` not a text.
        """
        __tracebackhide__ = True
        return cls(source_of_body(body, encoding))

    @classmethod
    def from_file(cls, path: str | PathLike[str], *, test: str | None = None) -> Self:
        """Return the observations in a file: export bodies (OTLP), JSON of Langfuse's API, or a run; gzip or not.

        JSON may be one document or several, one per line. `test` is the id of a test of a run, which is the file of
        `--langfuse-json`, as pytest prints it or as the file has it, without secrets; without `test`, all that the run
        has recorded is there.

        Raises:
            DecodeError: the file holds anything else (`pytest_langfuse.recording.DecodeError`, a `ValueError` that
                names the file).
            LookupError: the run has no such test, or several that it may be, since a part of their ids is redacted; or
                the file is not one of a run.
            OSError: the file cannot be read.
            TypeError: `path` is not a path, or `test` not a text.
            ValueError: `path` is not one that a file can have.
        """
        __tracebackhide__ = True
        if test is not None:
            arguments.text("Observations.from_file", "test", test)
        return cls(source_of_file(arguments.path("Observations.from_file", "path", path), test, hidden))

    @classmethod
    def from_api(cls, client: Langfuse, trace_id: str) -> Self:
        """Return the observations of a trace in Langfuse.

        Raises:
            LookupError: Langfuse does not have the trace, or not yet.
            TypeError: `client` is not a Langfuse client, or `trace_id` not a text.
            ValueError: `trace_id` is empty.
        """
        __tracebackhide__ = True
        call = "Observations.from_api"
        if not hasattr(client, "api"):
            arguments.refuse(call, "client", client, "a Langfuse client")
        arguments.text(call, "trace_id", trace_id, filled=True)
        observations = fetch_trace(client, trace_id)
        rows = json.dumps([observation.span for observation in observations], default=str)
        return cls(StaticSource(observations, wire=[WireBody("API", rows.encode("utf-8", "surrogatepass"))]))

    # -- parts ----------------------------------------------------------------------------------------------------

    def below(self, selector: str, /, **fields: Any) -> Self:
        """Return the one observation that matches `selector` and `fields` (see `one`), and all below it.

        What arrives later below that observation belongs to the part, too. `clear()` of a part clears everything.

        Raises:
            TreeMismatch: no observation matches, or more than one.
            LiteralError: `selector` is not a line of a literal, or observations have no such field.
            TypeError: `selector` is not a string.
        """
        __tracebackhide__ = True
        top = self.one(selector, **fields)
        return type(self)(PartSource(self._source, top.trace_id, top.id))

    def in_trace(self, name: str, /) -> Self:
        """Return the observations of the one trace of that name, with assertions; globs are allowed.

        What arrives later in that trace belongs to the part, too. `clear()` of a part clears everything.

        Raises:
            TreeMismatch: there is none, or more than one.
            TypeError: `name` is not a text.
        """
        __tracebackhide__ = True
        arguments.text("in_trace", "name", name)
        return type(self)(PartSource(self._source, self.trace(name).id))

    # -- as a literal ---------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        """Return whether `assert_tree(other)` passes; compare by `str(self)` with a snapshot, by items with a sequence.

        Raises:
            LiteralError: `other` is a string, but not a tree literal.
        """
        if isinstance(other, str):
            captured = self._source.observations()
            with undisturbed(max(len(captured), len(other) // SIZE)):
                return compare(parse(other), captured, current(), scores=self._source.scores) is None
        if isinstance(other, list | tuple | Observations):
            return list(self) == list(other)
        if type(other).__module__.partition(".")[0] in _SNAPSHOTS:
            # They would keep the repr, which says hardly anything.
            return bool(str(self) == other)
        return NotImplemented

    def __str__(self) -> str:
        """Return the literal that matches, without ids, times and versions."""
        return render(self._source.observations(), scores=self._source.scores())

    def skeleton(self) -> str:
        """Return the literal that matches, of types and names only."""
        return skeleton(self._source.observations())

    # -- assertions ----------------------------------------------------------------------------------------------

    def assert_tree(self, literal: str, /, *, order: Order = "start", **values: Any) -> None:
        """Assert that the captured trees are those of `literal`, no more and no less.

        Of each observation only the keys that its line lists are compared. With `order="any"`, siblings may have
        started in any order. `values` are the values of the `$name` placeholders: anything with `__eq__`.

        Raises:
            TreeMismatch: the trees differ.
            LiteralError: `literal` does not follow the grammar, a placeholder has no value, or a value no placeholder.
            ValueError: `order` is neither "start" nor "any".
            TypeError: `literal` is not a string.
        """
        __tracebackhide__ = True
        if order not in ("start", "any"):
            raise ValueError(f"order must be 'start' or 'any', not {arguments.shown(order)}")
        self._compare(literal, values, order=order, contained=False)

    def assert_contains(self, literal: str, /, **values: Any) -> None:
        """Assert that the tree of `literal` is somewhere in the captured trees.

        The observation of each line has those of the lines below it as children, in any order, perhaps among others.
        Several trees in one literal are found independently, each at a different observation. `values` are the values
        of the `$name` placeholders: anything with `__eq__`.

        Raises:
            TreeMismatch: the tree was not found.
            LiteralError: `literal` does not follow the grammar or has no observation, a placeholder has no value, or a
                value no placeholder.
            TypeError: `literal` is not a string.
        """
        __tracebackhide__ = True
        self._compare(literal, values, order="any", contained=True)

    def _compare(self, literal: str, values: dict[str, Any], *, order: Order, contained: bool) -> None:
        __tracebackhide__ = True
        captured, style = self._source.observations(), current()
        length = 0
        if isinstance(literal, str):
            length = len(literal)
        with undisturbed(max(len(captured), length // SIZE)):
            root = parse(literal, values)
            if contained and not root.children and not root.trace_scores:
                raise LiteralError("the literal has no observation to look for")
            diff = compare(
                root,
                captured,
                style,
                order=order,
                contained=contained,
                scores=self._source.scores,
                unexported=self._source.unexported,
            )
        if diff is not None:
            text = failure.tree_text(diff, self._source, style)
            raise TreeMismatch(style.body(text), diff.sentences, partial(side_by_side, diff))

    def assert_propagated(self, *fields: str, value: Any = None) -> None:
        """Assert that each of `fields` has one value on all observations of a trace (equal to `value`, if given).

        A field is one of `Observation` or a path such as `metadata.tenant`.

        Raises:
            TreeMismatch: a field is missing or differs on an observation, or nothing was captured.
            LiteralError: observations have no such field.
            TypeError: no field is given, or one is not a text.
        """
        __tracebackhide__ = True
        if not fields:
            raise TypeError("assert_propagated() needs at least one field, such as 'user_id'")
        keys = [propagated_key(field) for field in fields]
        self._need_any()
        sentences = [text for key in keys for text in gaps(self.traces, key, value, current().width)]
        if sentences:
            self._fail("not propagated to every observation:", sentences)

    def assert_single_trace(self) -> None:
        """Assert that all observations belong to one trace.

        Raises:
            TreeMismatch: there are several traces, or nothing was captured.
        """
        __tracebackhide__ = True
        self._need_any()
        traces = self.traces
        if len(traces) > 1:
            roots = [root for trace in traces for root in trace.roots]
            first = roots[0].record.thread
            labels = trace_labels(traces)
            sentences = [_trace_and_roots(label, trace, first) for label, trace in zip(labels, traces, strict=True)]
            why = "was the context lost in a thread or task, or a header not passed on?"
            orphans = not_exported(self._source.unexported(), nothing, roots)
            self._fail(f"{len(traces)} traces, expected one ({why}):", sentences, because=orphans)

    def assert_flushed(self) -> None:
        """Assert that every ended, sampled, unfiltered observation was delivered, and that no process lost one.

        Raises:
            TreeMismatch: observations were not delivered; the message names them.
        """
        __tracebackhide__ = True
        lost = self._source.undelivered()
        if lost:
            what = "observation was" if len(lost) == 1 else "observations were"
            running = [item for item in self._source.unexported() if item.reason == "unended"]
            because = not_exported(running, everything)
            self._fail(f"{len(lost)} {what} not delivered:", undelivered(lost), because=because)

    def assert_clean(self, ignore: Iterable[str] = ()) -> None:
        """Assert that no rule finds anything so far, in traces of which no observation runs.

        The rules are those that the ini file has chosen (`langfuse_rules_select`, `langfuse_rules_ignore`), without
        those of the codes in `ignore`; a warning counts, too. Some need to watch the application from the start of the
        run: so it is with `--langfuse-capture`, and where the function of a test calls this. Elsewhere a warning says
        so. `python -m pytest_langfuse.rules explain` lists them.

        Raises:
            TreeMismatch: rules have found something; the message has a line for each finding.
            ValueError: `ignore` has what is not the code of a rule, or a comment `# langfuse: ignore` is wrong.
            TypeError: `ignore` is not a list of texts.
        """
        __tracebackhide__ = True
        from pytest_langfuse.rules.ignore_comment import ignored_at
        from pytest_langfuse.rules.live_evidence import evidence_of
        from pytest_langfuse.rules.rule_set import UnknownRule, chosen_rules, ignored_codes

        ignored = ignored_codes("assert_clean", ignore)
        rules, evidence = chosen_rules().without(ignored), evidence_of(self._source, "", final=False)
        if rules.rules and not evidence.application.is_watched:
            warnings.warn(_NOT_WATCHED, stacklevel=2)
        try:
            found = rules.find(evidence)
        except UnknownRule as error:
            raise ValueError(f"assert_clean(): {error}") from None
        left = [finding for finding in found if finding.code not in ignored_at(finding.place)]
        if left:
            self._fail(f"{len(left)} finding{'s' * (len(left) > 1)} of rules:", list(map(str, left)))

    def assert_not_exported(self, *secrets: str) -> None:
        """Assert that no exporter of the process put any of the texts on the wire, in any encoding.

        Each text is searched for as it is and as JSON (also nested in JSON), URLs and base64 encode it. The message
        names the exporter, the span and the attribute, and never shows the text.

        Raises:
            TreeMismatch: a text was found, or nothing was captured.
            ValueError: no text is given, or one is empty.
            TypeError: one is not a text.
        """
        __tracebackhide__ = True
        for secret in secrets:
            if not isinstance(secret, str):
                # Not shown: it is a secret, in another form.
                raise TypeError(f"assert_not_exported() searches for texts, not for {type(secret).__name__}")
        if not secrets or not all(secrets):
            raise ValueError("assert_not_exported() needs at least one text, and none may be empty")
        bodies = list(self._source.wire())
        if not bodies and not self._source.unexported():
            self._need_any()
        texts = [SearchText(secret) for secret in secrets]
        sentences = [
            f"{sought.masked()}: {masked(texts, str(occurrence))}"
            for sought in texts
            for occurrence in find(sought, bodies)
        ]
        if sentences:
            self._fail("exported, but must not be:", sentences)


def explain_equality(left: object, right: object) -> list[str] | None:
    """Return the lines that explain a failed `observations == "literal"`; `None` for any other comparison.

    The differences come before the trees, because pytest shows eight lines unless asked for more.
    """
    observations, literal = (left, right) if isinstance(left, Observations) else (right, left)
    if not isinstance(observations, Observations) or not isinstance(literal, str):
        return None
    captured, style = observations[:], current()
    diff = compare(
        parse(literal),
        captured,
        style,
        scores=lambda: observations.scores,
        unexported=lambda: observations.unexported,
    )
    if diff is None:
        return None
    source = observations._source  # noqa: SLF001 - of the class above
    return hidden(failure.differences_first(diff, source, style)).splitlines()


def _trace_and_roots(label: str, trace: Trace, first_thread: str | None) -> str:
    roots = ", ".join(f"{root.type} {name_in_sentence(root.name)}" for root in trace.roots)
    count = len(trace.observations)
    thread = trace.roots[0].record.thread if trace.roots else None
    where = f" in thread {thread}" if thread is not None and thread != first_thread else ""
    return f"{label}: {count} observation{'' if count == 1 else 's'} starting with {roots}{where}"
