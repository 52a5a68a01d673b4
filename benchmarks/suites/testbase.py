"""OpenTelemetry's own test base."""

from opentelemetry.test.test_base import TestBase
from work import TESTS, five_spans


class TestSpans(TestBase):
    """One test method for each test."""

    def check(self) -> None:
        """Five spans, counted."""
        five_spans(self.tracer_provider.get_tracer(__name__))
        assert len(self.get_finished_spans()) == 5  # type: ignore[no-untyped-call]


for number in range(TESTS):
    setattr(TestSpans, f"test_{number}", TestSpans.check)
