import { describe, expect, it } from 'vitest';
import type { MetricDetail } from '../src/api/types';
import { merged } from '../src/charts/draw';
import { seconds, unitOf } from '../src/lib/format';
import { build, charAt, matchers, selector, serviceIn, windowFor, withMatcher } from '../src/lib/metrics';

const metric = (over: Partial<MetricDetail>): MetricDetail => ({
  name: 'x', type: 'gauge', unit: '', help: '', parts: [], series: 3, services: [], owners: [], native: false, labels: [],
  stats: { elapsed_ms: 0, rows_scanned: 0, bytes_scanned: 0, samples: 0, series: 0, files: 0, files_pruned: 0 }, ...over,
});
const exprs = (over: Partial<MetricDetail>, view = {}) => build(metric(over), view, '5m').queries.map((q) => q.expr);

describe('the query a metric is read by', () => {
  it('is a rate for counters', () => {
    expect(exprs({ name: 'requests_total', type: 'counter' })).toEqual(['sum(rate(requests_total[5m]))']);
    expect(exprs({ name: 'requests_total', type: 'counter' }, { by: 'route', match: 'env="p"' })).toEqual(['sum by (route) (rate(requests_total{env="p"}[5m]))']);
    expect(build(metric({ name: 'sent_bytes_total', type: 'counter', unit: 'bytes' }), {}, '5m').unit).toBe('bytes_rate');
    expect(build(metric({ name: 'cpu_seconds_total', type: 'counter', unit: 'seconds' }), {}, '5m').unit).toBe('none');
  });
  it('is quantiles for histograms, classic and native', () => {
    const classic = build(metric({ name: 'wait_seconds', type: 'histogram' }), {}, '5m');
    expect(classic.queries.map((q) => q.name)).toEqual(['p50', 'p95', 'p99']);
    expect(classic.queries[2]!.expr).toBe('histogram_quantile(0.99, sum by (le) (rate(wait_seconds_bucket[5m])))');
    expect([classic.unit, classic.shades]).toEqual(['seconds', true]);
    expect(exprs({ name: 'wait_seconds', type: 'histogram' }, { by: 'route' })).toEqual(['histogram_quantile(0.99, sum by (le, route) (rate(wait_seconds_bucket[5m])))']);
    expect(exprs({ name: 'wait_seconds', type: 'histogram', native: true }, { by: 'route', agg: 'mean' })).toEqual(['histogram_avg(sum by (route) (rate(wait_seconds[5m])))']);
    expect(exprs({ name: 'wait_seconds', type: 'histogram', native: true }, { agg: 'p50' })).toEqual(['histogram_quantile(0.5, sum(rate(wait_seconds[5m])))']);
  });
  it('is the value for gauges, averaged when there are many', () => {
    expect(exprs({ name: 'heap_bytes' })).toEqual(['heap_bytes']);
    expect(exprs({ name: 'heap_bytes', series: 400 })).toEqual(['avg(heap_bytes)']);
    expect(exprs({ name: 'heap_bytes' }, { by: 'http.route', agg: 'max' })).toEqual(['max by ("http.route") (heap_bytes)']);
    expect(exprs({ name: 'http.size', type: 'unknown' }, { match: 'a="b"' })).toEqual(['{"http.size",a="b"}']);
  });
});

describe('filters of the explorer', () => {
  it('are added, replaced and taken apart', () => {
    expect(matchers('a="x,y",b!="{z}"')).toEqual(['a="x,y"', 'b!="{z}"']);
    expect(withMatcher('a="1",b="2"', 'a', '3')).toBe('b="2",a="3"');
    expect(withMatcher('a="1"', 'a', '2', true)).toBe('a="1",a!="2"');
    expect(withMatcher(undefined, 'path', 'say "hi"')).toBe('path="say \\"hi\\""');
    expect(selector('up', 'job="a"')).toBe('up{job="a"}');
  });
  it('windows hold several samples', () => {
    expect([windowFor(5), windowFor(60), windowFor(3600), windowFor(86_400)]).toEqual(['1m', '5m', '6h', '1d']);
  });
});

describe('around a query', () => {
  it('finds the service', () => {
    expect(serviceIn('rate(x{job="shop/orders"}[5m])')).toBe('orders');
    expect(serviceIn('up')).toBeUndefined();
  });
  it('counts bytes as the server does', () => {
    expect(charAt('x{a="é"} +', 9)).toBe(8);
    expect(charAt('abc', 2)).toBe(2);
    expect(charAt('😀b', 4)).toBe(2);
  });
  it('knows units of rates and quotients', () => {
    expect(unitOf('sum(rate(http_requests_total[5m]))')).toBe('per_second');
    expect(unitOf('rate(sent_bytes_total[5m])')).toBe('bytes_rate');
    expect(unitOf('sum(rate(a_total[5m])) / sum(rate(b_total[5m]))')).toBe('none');
    expect(unitOf('sum(rate(x_seconds_sum[5m])) / sum(rate(x_seconds_count[5m]))')).toBe('seconds');
  });
});

describe('long durations', () => {
  it('never show sixty of a unit', () => {
    expect([359.9, 7199.9, 7259, 119.99].map((s) => seconds(s).replaceAll('\u2009', ' '))).toEqual(['6 min 0 s', '120 min 0 s', '2 h 1 min', '120 s']);
  });
});

describe('markers', () => {
  it('that fall together become one with their number', () => {
    expect(merged([{ x: 10, title: 'deploy 2' }, { x: 4, title: 'deploy 1' }, { x: 50, title: 'flag a' }], 8)).toEqual([{ x: 4, title: '2 changes' }, { x: 50, title: 'flag a' }]);
  });
});
