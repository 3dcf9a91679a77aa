import { mixed } from '../src/charts/mixed';
import { describe, expect, it } from 'vitest';
import { merged } from '../src/api/tail';
import type { LogRow, SpanRow } from '../src/api/types';
import { quote, terms, withoutTerm, withTerm } from '../src/lib/filter';
import { bytes, count, percent, seconds, significant, unitOf } from '../src/lib/format';
import { matrixFrame, promRange, stepFor } from '../src/lib/prom';
import { parts } from '../src/lib/runbook';
import { block, plain } from '../src/lib/text';
import { bounds, clock, durationMs, rangeText, resolve } from '../src/lib/time';
import { build, ticks, visible } from '../src/lib/tree';
import { globalSearch, pageSearch } from '../src/app/search';

const NOW = Date.parse('2026-11-20T03:12:40Z');
const THIN = '\u2009';

describe('tail', () => {
  const row = (id: string, time: string) => ({ id, time }) as LogRow;
  it('shows what arrived once, newest first', () => {
    const answered = [row('b', '200'), row('a', '100')];
    expect(merged([], answered)).toBe(answered);
    expect(merged([row('d', '1000'), row('b', '200'), row('c', '150')], answered).map((r) => r.id)).toEqual(['d', 'b', 'c', 'a']);
  });
});

describe('time', () => {
  it('reads what URLs hold', () => {
    expect(durationMs('1h30m')).toBe(5_400_000);
    expect(durationMs('soon')).toBeNull();
    expect(resolve('now', NOW)).toBe(NOW);
    expect(resolve('-3h', NOW)).toBe(NOW - 10_800_000);
    expect(resolve('now-15m', NOW)).toBe(NOW - 900_000);
    expect(resolve('2026-11-20T03:00:00Z', NOW)).toBe(NOW - 760_000);
    expect(resolve('yesterday', NOW)).toBeNull();
  });
  it('falls back to the last hour when a range makes no sense', () => {
    expect(bounds({ from: 'x', to: 'now' }, NOW)).toEqual({ from: NOW - 3_600_000, to: NOW });
    expect(bounds({ from: 'now', to: '-1h' }, NOW)).toEqual({ from: NOW - 7_200_000, to: NOW - 3_600_000 });
  });
  it('shows them in UTC', () => {
    expect(clock(NOW, 'utc')).toBe('03:12:40');
    expect(clock(NOW + 7, 'utc', true)).toBe('03:12:40.007');
    expect(rangeText(NOW - 10_800_000, NOW, 'utc')).toBe('00:12 – 03:12');
    expect(rangeText(NOW - 7 * 86_400_000, NOW, 'utc')).toBe('11-13 03:12 – 11-20 03:12');
  });
});

describe('numbers', () => {
  it.each([
    [significant(0.0123456), '0.0123'], [significant(12.345), '12.3'], [significant(1234.5), '1235'],
    [count(12_400), '12.4k'], [count(999), '999'], [count(null), '—'], [count(3_200_000), '3.20M'],
    [seconds(1.84), `1.84${THIN}s`], [seconds(0.302), `302${THIN}ms`], [seconds(0.0004), `400${THIN}µs`], [seconds(0), `0${THIN}s`], [seconds(Number.NaN), '—'],
    [percent(0.098), '9.8%'], [percent(0.9995), '99.95%'], [percent(0), '0%'], [percent(0.00001), '<0.01%'], [percent(1), '100%'],
    [bytes(38_000_000), `38.0${THIN}MB`], [bytes(12), `12${THIN}B`],
  ])('%s', (got, expected) => expect(got).toBe(expected));
  it('takes units from names', () => {
    expect(unitOf('histogram_quantile(0.9, rate(http_request_duration_seconds_bucket[5m]))')).toBe('seconds');
    expect(unitOf('rate(process_cpu_seconds_total[5m])')).toBe('none');
    expect(unitOf('process_resident_memory_bytes')).toBe('bytes');
  });
});

describe('filter text', () => {
  it('splits outside of quotes and parentheses', () => {
    expect(terms('service:a "two words" (x OR y) -level:info')).toEqual(['service:a', '"two words"', '(x OR y)', '-level:info']);
  });
  it('quotes what needs it', () => {
    expect(quote('orders-api')).toBe('orders-api');
    expect(quote('GET /orders')).toBe('"GET /orders"');
    expect(quote('a"b')).toBe('"a\\"b"');
    expect(quote('-x')).toBe('"-x"');
  });
  it('adds, replaces and removes terms', () => {
    expect(withTerm('service:a level:info', 'level', 'ERROR')).toBe('service:a level:ERROR');
    expect(withTerm('level:ERROR', 'level', 'ERROR', true)).toBe('-level:ERROR');
    expect(withoutTerm('service:a level:error', 'level:error')).toBe('service:a');
  });
});

describe('text from outside', () => {
  it('is never markup and shows control characters', () => {
    expect(plain('\u001b[31mred\u001b[0m \u0007<b>x</b>')).toBe('red \\x07<b>x</b>');
    expect(plain('abcdef', 3)).toBe('abc…');
    expect(block('a\nb')).toBe('a\nb');
  });
});

const span = (id: string, parent: string | undefined, start: number, duration: number): SpanRow => ({
  trace_id: 't', span_id: id, ...(parent ? { parent_span_id: parent } : {}), name: id, kind: 'internal', service_name: 's', start: String(1_700_000_000_000_000_000n + BigInt(start)), duration,
  status_code: 'unset', attributes: {}, resource: {}, events: [], links: [],
});

describe('span tree', () => {
  it('orders by start below each parent and counts descendants', () => {
    const { nodes, duration } = build([span('c', 'a', 50, 10), span('a', undefined, 0, 100), span('b', 'a', 10, 20), span('d', 'b', 12, 5)]);
    expect(nodes.map((n) => [n.span.span_id, n.depth, n.descendants])).toEqual([['a', 0, 3], ['b', 1, 1], ['d', 2, 0], ['c', 1, 0]]);
    expect(duration).toBe(100);
    expect(visible(nodes, new Set(['b'])).map((n) => n.span.span_id)).toEqual(['a', 'b', 'c']);
  });
  it('shows orphans and survives cycles', () => {
    const { nodes } = build([span('x', 'gone', 0, 1), span('p', 'q', 0, 1), span('q', 'p', 0, 1)]);
    expect(nodes.map((n) => n.span.span_id).sort()).toEqual(['p', 'q', 'x']);
    expect(nodes.find((n) => n.span.span_id === 'x')?.missingParent).toBe(true);
  });
  it('holds ten thousand spans in a chain', () => {
    const chain = Array.from({ length: 10_000 }, (_, i) => span(`s${i}`, i ? `s${i - 1}` : undefined, i, 1));
    expect(build(chain).nodes[0]?.descendants).toBe(9_999);
  });
  it('rounds its axis', () => expect(ticks(1_840_000_000)).toEqual([0, 500_000_000, 1_000_000_000, 1_500_000_000]));
});

describe('Prometheus ranges', () => {
  it('asks on a grid that does not move', () => {
    const b = { from: NOW - 3_600_000, to: NOW };
    expect(stepFor(b)).toBe(15);
    expect(Number(promRange('up', b).start) % 15).toBe(0);
  });
  it('keeps gaps', () => {
    const b = { from: 0, to: 60_000 };
    const frame = matrixFrame({ status: 'success', data: { resultType: 'matrix', result: [{ metric: { a: 'b' }, values: [[0, '1'], [2, 'NaN'], [60, '+Inf']] }] } }, b);
    expect(frame.series[0]?.values[0]).toBe(1);
    expect(frame.series[0]?.values.slice(1).every((v) => v === null)).toBe(true);
  });
});

describe('URL parameters', () => {
  it('keeps what is known and drops the rest', () => {
    expect(globalSearch({ env: 'prod', from: '-3h', live: '1', x: 1 })).toEqual({ env: 'prod', from: '-3h', live: 1 });
    expect(pageSearch('q')({ q: 'a:b', other: 'z', to: 'now' })).toEqual({ q: 'a:b', to: 'now' });
  });
});

describe('runbook', () => {
  it('keeps steps where they stood', () => {
    expect(parts({ html: '<p>a</p>\n<div data-step="one"></div>\n<p>b</p>', steps: ['one', 'two'] })).toEqual(['<p>a</p>\n', { step: 'one' }, '\n<p>b</p>', { step: 'two' }]);
    expect(parts({ html: '', steps: [] })).toEqual([]);
  });
});

describe('colours over a surface', () => {
  it('are mixed, short forms too', () => {
    expect(mixed('#2254a5', '#fff', 0.28)).toBe('rgb(193,207,230)');
    expect(mixed('#79b2f3', '#11151c', 0.5)).toBe('rgb(69,100,136)');
  });
});
