"""The capture of a run from the moment in which the SDK is hooked: begins and ends captured tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_langfuse.captured_test import CapturedTest
from pytest_langfuse.environment import CapturedEnvironment, placeholder_keys
from pytest_langfuse.import_watcher import ImportWatcher
from pytest_langfuse.options import Options
from pytest_langfuse.outage.suite import FAULT
from pytest_langfuse.recording.origin import WorksFor
from pytest_langfuse.recording.recorder import Recorder, Uncaptured
from pytest_langfuse.recording.sdk import hooked, hooks
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.refused_connections import RefusedConnections
from pytest_langfuse.report.captured_lines import used_by
from pytest_langfuse.report.junit import properties
from pytest_langfuse.report.kept_test import KeptTests
from pytest_langfuse.report.outage_timeline import OutageTimeline
from pytest_langfuse.report.repeated_tests import repeat_of_running
from pytest_langfuse.report.rules_of_run import redaction_of, rule_set_of
from pytest_langfuse.report.seen_keys import send_seen_keys
from pytest_langfuse.report.shown_sections import hide_secrets
from pytest_langfuse.rules.rule_set import choose
from pytest_langfuse.rules.secrets.chosen_redactor import choose_redactor
from pytest_langfuse.sealed_queues import SealedQueues, variables_of_queues
from pytest_langfuse.sealing import sealed
from pytest_langfuse.standin.queue.queue_stand_in import QueueStandIn
from pytest_langfuse.standin.stand_in import StandIn
from pytest_langfuse.wider_fixtures import MadeSoFar, WiderFixtures

if TYPE_CHECKING:
    from pytest_langfuse.recording.start_place import StartPlaces
    from pytest_langfuse.report.rule_findings import RuleFindings, RuleTotal
    from pytest_langfuse.report.run_baseline import RunBaseline
    from pytest_langfuse.rules.rule_set import RuleSet
    from pytest_langfuse.terminal import Terminal
    from pytest_langfuse.tracing import TracingHealth


class ActiveCapture:
    """Hooks the SDK for one run, until `stop`. If `is_last()` is true then, what captured tests left stays sealed.

    `refused` is told of connections to the real Langfuse that something tried past the SDK; `terminal()` is
    the one that failures are shown on. `watches_rules`: a test asserts that rules find nothing.
    """

    def __init__(
        self,
        config: pytest.Config,
        options: Options,
        *,
        refused: RefusedConnections,
        is_last: Callable[[], bool],
        terminal: Callable[[], Terminal],
        watches_rules: bool,
    ) -> None:
        #: The test that runs, if it is captured.
        self.test: CapturedTest | None = None
        self._config = config
        self._options = options
        self._refused = refused
        self._terminal = terminal
        self._styled = False
        self._is_last = is_last
        self._stand_in = stand_in = StandIn()
        self._queues = QueueStandIn()
        self._recorder = recorder = Recorder(
            everything=options.capture,
            flush=hooks.flush,
            flush_scores=hooks.flush_scores,
            discard=hooks.discard,
            score_source=self._score_log,
            clients=hooks.clients,
            explain=hooks,
        )
        #: The tests of which lines are to be written.
        self.kept = KeptTests(stand_in.find_media, used_by) if options.keeps_traces or options.junit else None
        #: The findings that are known, with `--langfuse-rules-baseline`.
        self.baseline: RunBaseline | None = None
        # First: it refuses bad options, and nothing is hooked yet that would have to be restored.
        if watches_rules or (options.capture and options.rules_select):
            self._recorder.places = self._start_places()
        self._findings = self._rule_findings()
        with ExitStack() as stack:
            if options.capture and options.env_keys:
                stack.enter_context(placeholder_keys())
            # Another one for what captured tests send later: no test finds it among what it sent itself. It has the
            # same prompts, media and datasets, since an upload may begin in a test and end after it.
            self._late = late = stand_in.of_same_project()
            stack.enter_context(
                sealed(
                    recorder,
                    url_of_test=self._url_of_test,
                    refused=refused.add,
                    refusals_of_children=refused.file_for_children,
                    queues_of_children=self._queues_of_children,
                    answer=late,
                    last=is_last,
                )
            )
            stack.enter_context(hooked(recorder, stand_in, late, last=is_last))
            self._redaction = redaction_of(config, options)
            stack.callback(self._redaction.keys.watch())
            stack.callback(choose_redactor(self._redaction))
            stack.callback(self._queues.close)
            imports = ImportWatcher(
                {
                    "freezegun": _spare_langfuse,
                    "multiprocessing.pool": hooks.see_thread_pools,
                    "pytest_langfuse.tracing.config": self._supply,
                    "pytest_langfuse.tracing.delivery.owner": self._own,
                    "pytest_langfuse.tracing.queue.endpoints": self._seal_queues,
                }
            )
            stack.callback(imports.stop)
            stack.callback(choose(lambda: rule_set_of(options)))
            config.pluginmanager.register(WiderFixtures(recorder, self._made_so_far), "langfuse_wider_fixtures")
            self._stack = stack.pop_all()
        imports.start()

    def _remember_places(self) -> None:
        """Remember where observations are started, for those who name the places."""
        from pytest_langfuse.recording.start_place import StartPlaces

        patterns = self._config.getini("python_files")

        def is_test(file: str) -> bool:
            name = Path(file).name
            return name == "conftest.py" or any(fnmatch(name, pattern) for pattern in patterns)

        self._recorder.places = StartPlaces(is_test)

    def _start_places(self) -> StartPlaces:
        from pytest_langfuse.recording.start_place import StartPlaces

        patterns = self._config.getini("python_files")

        def is_test(file: str) -> bool:
            name = Path(file).name
            return name == "conftest.py" or any(fnmatch(name, pattern) for pattern in patterns)

        return StartPlaces(is_test)

    def _rule_findings(self) -> RuleFindings | None:
        """Return the judge of tests by rules; `None` if no rule is selected, or single tests alone are captured."""
        options = self._options
        if options.keeps_traces or (options.capture and options.rules_select):
            self._remember_places()
        if not (options.capture and options.rules_select):
            return None
        from pytest_langfuse.report.rule_findings import RuleFindings

        rules = rule_set_of(options)
        self.baseline = self._run_baseline(rules)
        return RuleFindings(rules, strict=options.strict, baseline=self.baseline, writes_json=self.kept is not None)

    def _run_baseline(self, rules: RuleSet) -> RunBaseline | None:
        if (given := self._options.rules_baseline) is None:
            return None
        from pytest_langfuse.report.run_baseline import RunBaseline

        baseline = RunBaseline(self._config, given, rules, strict=self._options.strict)
        self._config.pluginmanager.register(baseline, "langfuse_baseline")
        return baseline

    def rule_totals(self) -> list[RuleTotal]:
        """Return what the rules have found so far."""
        return [] if self._findings is None else self._findings.totals()

    def _made_so_far(self) -> MadeSoFar:
        """The test that runs, captured or not, and the spans that have started in it."""
        if self.test is not None:
            spans = list(self.test.recording.spans)
            return MadeSoFar(self.test.recording.test, [(one.name, f"{one.key[1]:016x}") for one in spans])
        if (uncaptured := hooks.uncaptured) is not None:
            made = list(uncaptured.spans)
            ids = [f"{span.get_span_context().span_id:016x}" for _, span in made]
            return MadeSoFar(uncaptured.origin.test, [(name, id_) for (name, _), id_ in zip(made, ids, strict=True)])
        return MadeSoFar("", [])

    def _score_log(self) -> Sequence[Score]:
        """The scores of the run so far, with those that have arrived in a queue."""
        if self.test is not None:
            self.test.read_queue()
        return self._stand_in.score_log

    def _url_of_test(self) -> str | None:
        """The address of the server that the running test uses."""
        return self.test.url_for_children if self.test is not None else None

    def _supply(self, config: Any) -> None:
        """Let `init_tracing` find keys in a captured test."""
        before = config.environ
        config.environ = CapturedEnvironment(lambda: self._options.capture or self.test is not None)
        self._stack.callback(setattr, config, "environ", before)

    def _queues_of_children(self, variables: Mapping[str, str]) -> Mapping[str, str]:
        """The variables that name the queues of a child process of the test that runs."""
        return variables_of_queues(None if self.test is None else self.test.queue_for_children, variables)

    def _seal_queues(self, endpoints: Any) -> None:
        """Let what captured tests export to Kafka and SQS reach the stand-in's, or none."""
        queues = SealedQueues(
            is_captive=hooks.is_captive,
            queue_of_test=lambda: None if self.test is None else self.test.queue_in_use,
            sqs_of_test=lambda: None if self.test is None else self.test.sqs_in_use,
        )
        restore = queues.install(endpoints)
        # What captured tests have left behind stays sealed until the process exits.
        self._stack.callback(lambda: self._is_last() or restore())

    def _own(self, owner: Any) -> None:
        """Let what waits in a buffer of production tracing be sent for the test that made it; hear of its breakers."""
        before = owner.current, owner.unowned
        told, owner.breaker_changed = owner.breaker_changed, self._breaker_changed
        owner.current, owner.unowned = hooks.owner, WorksFor(None)

        def restore() -> None:
            owner.breaker_changed = told
            if not self._is_last():
                owner.current, owner.unowned = before

        self._stack.callback(restore)

    def _breaker_changed(self, route: str, before: str, now: str) -> None:
        if self.kept is not None and (running := self.kept.running) is not None:
            running.timeline.breaker_changed(route, before, now)

    def stop(self) -> None:
        """End the run."""
        with self._stack:
            self.end()

    # -- one test ------------------------------------------------------------------------------------------------

    def begin(self, name: str, *, since: int, early_clients: Mapping[Any, Mapping[str, Any]]) -> CapturedTest:
        """Attribute what starts from now on to the test `name`, and what it has made if it runs already.

        It runs already if `since`, in nanoseconds since 1970, is not 0: nobody has noted yet what it made.
        """
        self.end()
        repeat = repeat_of_running(self._config)
        if self.kept is not None and self.kept.is_full(name, repeat):
            from pytest_langfuse.report.run_lines import pack

            pack(self.kept, self._config, self._options)
        self._style_failures()
        with ExitStack() as stack:
            before, hooks.uncaptured = hooks.uncaptured, None
            if before is not None and before.origin.test != name:
                before = None
            if since:
                before = Uncaptured(name)
                before.spans.extend(hooks.take_over(since, before.origin))
            if not self._options.capture:
                if self._options.env_keys:
                    stack.enter_context(placeholder_keys())
                stack.callback(hooks.disable)
                hooks.keep_prompts()
                stack.callback(hooks.restore_prompts)
            timeout = self._options.outage_timeout
            timeline = OutageTimeline(_health)
            self.test = test = CapturedTest(
                name,
                self._recorder,
                self._stand_in,
                self._queues,
                stack.pop_all(),
                before=before,
                outage_timeout=timeout,
                on_sample=timeline.look if self._options.keeps_traces else lambda: None,
            )
        if self.kept is not None:
            self.kept.begin(test.recording, test.source, timeline, repeat)
        self._refused.begin_test()
        if not self._options.capture:
            hooks.enable(early_clients)
        hooks.revive()
        return test

    def begin_uncaptured(self, name: str) -> None:
        """Follow what a test makes that is not captured: it may ask for a fixture at run time."""
        hooks.uncaptured = Uncaptured(name)

    def end(self) -> None:
        """End the test that runs, if it is captured."""
        test, self.test = self.test, None
        if test is not None:
            if self.kept is None:
                test.close()
            else:
                test.close(self.kept.running)
                self.kept.end(keep=self._options.keeps_traces)
            self._late.forget_sent()
            self._refused.end_test()

    def _style_failures(self) -> None:
        """Show failures in colour on a terminal, and whole with -vv; as before once this run is over."""
        if not self._styled:
            self._styled = True
            self._stack.callback(self._terminal().style(verbose=self._config.get_verbosity()))

    # -- reports -------------------------------------------------------------------------------------------------

    def complete(
        self, report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None], *, in_suite_outage: bool
    ) -> None:
        """Add what the test made to the report of one of its phases; after the teardown, end the test."""
        if self.test is not None:
            kept = None if self.kept is None else self.kept.running
            try:
                if self._findings is not None:
                    self._findings.judge(report, item, self.test.source, self.test.recording)
                self._describe(report, item, self.test, in_suite_outage=in_suite_outage)
                if kept is not None:
                    error = None if call.excinfo is None else call.excinfo.value
                    kept.note(report, error, item.stash.get(FAULT, None) if in_suite_outage else None)
                    if report.when == "call":
                        # Now: the teardown of a fixture may end production tracing.
                        kept.health = kept.timeline.end()
            finally:
                if report.when == "teardown":
                    self.end()
                    self._hand_on(report)
                if hasattr(self._config, "workerinput"):
                    send_seen_keys(self._redaction, report)
            if report.when == "teardown" and self._options.junit and kept is not None:
                report.user_properties += properties(kept)
            self._refused.fail(report)
            hide_secrets(report, self._redaction)
        elif report.when == "teardown":
            hooks.uncaptured = None

    def _hand_on(self, report: pytest.TestReport) -> None:
        """Send along what the test has recorded, if this is a worker of xdist: it may crash in a later one."""
        if self.kept is not None and self._options.keeps_traces and hasattr(self._config, "workerinput"):
            from pytest_langfuse.report.run_lines import hand_on

            hand_on(self.kept, self._config, self._options, report)

    def _describe(
        self, report: pytest.TestReport, item: pytest.Item, test: CapturedTest, *, in_suite_outage: bool
    ) -> None:
        if not (report.failed or self._options.show == "all" or in_suite_outage):
            return
        from pytest_langfuse.report.trace_section import add_trace_section

        verbose = self._config.get_verbosity()
        add_trace_section(report, test.source, self._options.show)
        if test.apps and report.failed:
            from pytest_langfuse.report.process_sections import add_process_sections

            add_process_sections(report, test.apps, whole=verbose > 1)
        if in_suite_outage:
            from pytest_langfuse.report.degradation import add_degradation

            lost = test.lost if report.when == "call" else None
            add_degradation(report, item.stash.get(FAULT, None), lost=lost, wait=test.sampler.wait())

    def totals(self) -> Mapping[str, int]:
        """End the last test, and return the counts of the run."""
        self.end()
        return self._recorder.totals()


def _health() -> TracingHealth | None:
    """Return the health of production tracing, if that is used in this process."""
    singleton = sys.modules.get("pytest_langfuse.tracing.singleton")
    if singleton is None or (singleton.singleton.installation is None and singleton.singleton.retired is None):
        return None
    health: TracingHealth = singleton.tracing_health()
    return health


def _spare_langfuse(freezegun: Any) -> None:
    """Keep frozen clocks out of langfuse: its models, built when first used, can't be built from a fake `datetime`.

    The app may never have imported langfuse; the capture did.
    """
    freezegun.configure(extend_ignore_list=["langfuse"])
