"""Logs and spans as others' client libraries send them. Arguments: which client, then what it needs.

What is sent is fixed, so that the test knows every value. A client that reports an error ends with a status.
"""

import logging
import sys
import time

client, address = sys.argv[1:3]
host, _, port = address.partition(":")


def loki():
    import logging_loki

    # The library swallows errors by calling this.
    logging_loki.LokiHandler.handleError = lambda self, record: (_ for _ in ()).throw(sys.exc_info()[1])
    handler = logging_loki.LokiHandler(url=f"http://{address}/loki/api/v1/push", tags={"application": "shop"}, version="1")
    logger = logging.getLogger("checkout")
    logger.addHandler(handler)
    logger.error("payment refused", extra={"tags": {"order": "7"}})
    logger.warning("slow")


def elasticsearch():
    from elasticsearch import Elasticsearch, helpers

    es = Elasticsearch(f"http://{address}")
    assert es.info()["tagline"] == "You Know, for Search"
    assert es.cluster.health()["status"] == "green"
    es.indices.put_index_template(name="shop", index_patterns=["logs-shop-*"], data_stream={})
    assert es.indices.exists_index_template(name="shop")
    documents = [
        {"_op_type": "create", "_index": "logs-shop.orders-prod", "@timestamp": int(time.time() * 1000), "message": f"order {i}", "log": {"level": "warn"}, "n": i}
        for i in range(100)
    ]
    assert helpers.bulk(es, documents) == (100, [])
    actions = [{"_op_type": "update", "_index": "orders", "_id": "1", "doc": {"a": 1}}, {"_op_type": "index", "_index": "orders", "message": "beside"}]
    stored, errors = helpers.bulk(es, actions, raise_on_error=False)
    assert stored == 1 and errors[0]["update"]["status"] == 400, (stored, errors)
    assert es.index(index="orders-2026.11.20", document={"message": "one alone", "service": {"name": "checkout"}})["result"] == "created"


def splunk():
    import json
    import urllib.request

    # As splunk_handler's payload is: objects one after another.
    events = [{"time": time.time(), "host": "h1", "source": "s", "sourcetype": "text", "event": "ERROR disk gone"}, {"event": {"message": "placed", "service": "orders"}, "fields": {"region": "eu"}}]
    from splunk_handler import SplunkHandler

    handler = SplunkHandler(host=host, port=port, token="any", index="main", protocol="http", verify=False, sourcetype="json", hostname="h2", flush_interval=0.1)
    logger = logging.getLogger("billing")
    logger.addHandler(handler)
    logger.error("invoice lost")
    handler.force_flush()
    body = "".join(json.dumps(event) for event in events).encode()
    request = urllib.request.Request(f"http://{address}/services/collector/event", body, {"Authorization": "Splunk any"})
    assert json.load(urllib.request.urlopen(request)) == {"text": "Success", "code": 0}


def fluent():
    from fluent import sender

    logger = sender.FluentSender("shop", host=host, port=int(port), nanosecond_precision=True)
    for i in range(50):
        assert logger.emit("orders", {"message": f"order {i}", "level": "info", "n": i, "deep": {"a": [1, 2]}}), logger.last_error
    logger.close()


def syslog():
    from logging.handlers import SysLogHandler

    import socket

    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        handler = SysLogHandler((host, int(port)), facility="local3", socktype=kind)
        handler.ident = "checkout: "
        logger = logging.getLogger(str(kind))
        logger.addHandler(handler)
        logger.error("refused over %s", kind.name)
        handler.close()


def zipkin():
    from py_zipkin import Encoding, Kind
    from py_zipkin.transport import SimpleHTTPTransport
    from py_zipkin.zipkin import zipkin_span

    for encoding in (Encoding.V2_JSON, Encoding.V2_PROTO3):
        with zipkin_span(
            service_name="shop",
            span_name=f"order {encoding.name}",
            kind=Kind.SERVER,
            transport_handler=SimpleHTTPTransport(host, int(port)),
            sample_rate=100,
            encoding=encoding,
        ) as span:
            span.update_binary_annotations({"order.id": "7"})
            with zipkin_span(service_name="shop", span_name="charge", kind=Kind.CLIENT):
                pass
            print("trace_id", span.zipkin_attrs.trace_id.zfill(32))


def otel_zipkin():
    from opentelemetry.exporter.zipkin.json import ZipkinExporter

    otel(ZipkinExporter(endpoint=f"http://{address}/api/v2/spans"))


def otel(exporter):
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("lib", "1.2")
    with tracer.start_as_current_span("order", kind=trace.SpanKind.SERVER) as span:
        span.set_attribute("order.id", 7)
        span.add_event("retry", {"n": 2})
        span.set_status(trace.StatusCode.ERROR, "refused")
        print("trace_id", f"{span.get_span_context().trace_id:032x}")
        with tracer.start_as_current_span("charge"):
            pass
    provider.shutdown()


def jaeger():
    from jaeger_client import Config

    config = Config(
        config={"sampler": {"type": "const", "param": 1}, "local_agent": {"reporting_host": host, "reporting_port": int(port)}, "generate_128bit_trace_id": True},
        service_name="shop",
        validate=True,
    )
    tracer = config.initialize_tracer()
    with tracer.start_span("order", tags={"span.kind": "server", "order.id": 7, "error": True}) as parent:
        parent.log_kv({"event": "retry", "n": 2})
        with tracer.start_span("charge", child_of=parent):
            pass
        print("trace_id", f"{parent.trace_id:032x}")
    # It sends in the background and has no way to wait for that.
    time.sleep(1)
    tracer.close()
    time.sleep(1)


def jaeger_thrift():
    """A batch in the binary protocol, as Jaeger's clients for other languages post it."""
    import urllib.request

    from jaeger_client.thrift_gen.jaeger import ttypes
    from thrift.protocol.TBinaryProtocol import TBinaryProtocol
    from thrift.transport.TTransport import TMemoryBuffer

    now = int(time.time() * 1e6)
    tag = lambda key, kind, **value: ttypes.Tag(key=key, vType=kind, **value)
    tags = [tag("span.kind", ttypes.TagType.STRING, vStr="server"), tag("error", ttypes.TagType.BOOL, vBool=True), tag("order.id", ttypes.TagType.LONG, vLong=7)]
    logs = [ttypes.Log(timestamp=now, fields=[tag("event", ttypes.TagType.STRING, vStr="retry"), tag("took", ttypes.TagType.DOUBLE, vDouble=0.5)])]
    span = lambda number, parent, name, **more: ttypes.Span(traceIdLow=now, traceIdHigh=-5, spanId=number, parentSpanId=parent, operationName=name, flags=1, startTime=now, duration=1000, **more)
    batch = ttypes.Batch(process=ttypes.Process(serviceName="shop", tags=[]), spans=[span(-1, 0, "order", tags=tags, logs=logs), span(-2, -1, "charge")])
    out = TMemoryBuffer()
    batch.write(TBinaryProtocol(out))
    request = urllib.request.Request(f"http://{address}/api/traces?format=jaeger.thrift", out.getvalue(), {"Content-Type": "application/x-thrift"})
    assert urllib.request.urlopen(request).status == 202
    print("trace_id", f"{(2**64 - 5) << 64 | now:032x}")


def jaeger_grpc():
    """`PostSpansRequest` through gRPC's own library; the message is written here, field by field."""
    import grpc

    def field(number, value):
        if isinstance(value, int):
            out, more = bytearray([number << 3]), value
            while more >= 0x80:
                out.append(more & 0x7F | 0x80)
                more >>= 7
            return bytes(out) + bytes([more])
        value = value.encode() if isinstance(value, str) else value
        assert len(value) < 16384
        length = bytes([len(value)]) if len(value) < 128 else bytes([len(value) & 0x7F | 0x80, len(value) >> 7])
        return bytes([number << 3 | 2]) + length + value

    now, trace = time.time_ns(), b"\x07" * 16
    times = field(6, field(1, now // 10**9) + field(2, now % 10**9)) + field(7, field(2, 1000000))
    tag = lambda key, value: field(8, field(1, key) + field(3, value))
    event = field(9, field(1, field(1, now // 10**9)) + field(2, field(1, "event") + field(3, "retry")))
    failed = field(8, field(1, "error") + field(2, 1) + field(4, 1))
    order = field(1, trace) + field(2, b"\x01" * 8) + field(3, "order") + times + tag("span.kind", "server") + failed + event
    charge = field(1, trace) + field(2, b"\x02" * 8) + field(3, "charge") + field(4, field(1, trace) + field(2, b"\x01" * 8)) + times
    request = field(1, field(1, order) + field(1, charge) + field(2, field(1, "shop")))
    with grpc.insecure_channel(address) as channel:
        assert channel.unary_unary("/jaeger.api_v2.CollectorService/PostSpans")(request, timeout=10) == b""
    print("trace_id", trace.hex())


globals()[client]()
