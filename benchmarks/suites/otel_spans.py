"""Plain OpenTelemetry, sent to nowhere: what five spans cost."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from work import NullExporter, each_test, five_spans

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(NullExporter()))
tracer = provider.get_tracer(__name__)


@each_test
def test_spans(number: int) -> None:
    """Five spans."""
    five_spans(tracer)
