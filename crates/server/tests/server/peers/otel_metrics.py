"""Metrics of an application that uses OpenTelemetry's SDK: every instrument, both temporalities, with exemplars.

What it records is fixed, so that the test knows every value. Arguments: endpoint, temporality (cumulative or delta),
protocol (http or grpc).
"""

import sys

from opentelemetry import metrics, trace
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import (
    AlwaysOnExemplarFilter,
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

endpoint, temporality, protocol = sys.argv[1:]
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    arguments = {"endpoint": endpoint, "insecure": True}
else:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    arguments = {"endpoint": f"{endpoint}/v1/metrics"}

wanted = AggregationTemporality.DELTA if temporality == "delta" else AggregationTemporality.CUMULATIVE
instruments = (Counter, Histogram, ObservableCounter, ObservableGauge, ObservableUpDownCounter, UpDownCounter)
# Sums that go down are cumulative in any case, as the specification's delta preference has it.
preferred = {kind: wanted if kind in (Counter, Histogram, ObservableCounter) else AggregationTemporality.CUMULATIVE for kind in instruments}
exporter = OTLPMetricExporter(preferred_temporality=preferred, **arguments)
# Exports happen when the program says so.
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
provider = MeterProvider(
    metric_readers=[reader],
    resource=Resource({"service.name": f"otel-{temporality}-{protocol}", "service.instance.id": "one", "region": "eu"}),
    exemplar_filter=AlwaysOnExemplarFilter(),
    views=[View(instrument_name="payload", aggregation=ExponentialBucketHistogramAggregation(max_size=20))],
)
metrics.set_meter_provider(provider)
tracer = TracerProvider().get_tracer("orders")
meter = provider.get_meter("orders", "1.2.3")

orders = meter.create_counter("orders.placed", unit="{order}", description="Orders placed.")
queue = meter.create_up_down_counter("queue.length", description="Messages that wait.")
latency = meter.create_histogram("request.duration", unit="s", description="Latency.", explicit_bucket_boundaries_advisory=[0.1, 1.0])
payload = meter.create_histogram("payload", unit="By", description="Sizes.")
rounds = {"count": 0}
meter.create_observable_counter("rounds.done", callbacks=[lambda _: [Observation(rounds["count"], {"k": "v"})]])
meter.create_observable_gauge("temperature", callbacks=[lambda _: [Observation(-3.5)]], unit="Cel")

for number in range(3):
    rounds["count"] += 10
    with tracer.start_as_current_span("order") as span:
        orders.add(5, {"route": "/orders"})
        queue.add(-1)
        for value in (0.05, 0.5, 5.0):
            latency.record(value, {"route": "/orders"})
        for value in (1, 2, 4, 8):
            payload.record(value)
        print("trace_id", trace.format_trace_id(span.get_span_context().trace_id), flush=True)
    assert provider.force_flush(), f"export {number} failed"
provider.shutdown()
