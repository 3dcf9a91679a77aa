/** Which query shows a metric as it is meant to be read. */
import type { MetricDetail } from '../api/types';
import { unitOf, type Unit } from './format';

export type Aggregation = 'each' | 'avg' | 'sum' | 'min' | 'max' | 'p50' | 'p95' | 'p99' | 'quantiles' | 'mean' | 'rate';

export interface View { by?: string | undefined; agg?: string | undefined; match?: string | undefined }
export interface Built { queries: { name: string; expr: string }[]; unit: Unit; title: string; shades: boolean; agg: Aggregation; choices: Aggregation[] }

/** Up to this many series of a gauge are drawn each on its own. */
const EACH_MAX = 12;
const LEGACY = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const METRIC = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

export const quoteLabel = (value: string): string => `"${value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`;
/** A label's name as PromQL takes it; UTF-8 names are quoted. */
export const labelName = (name: string): string => (LEGACY.test(name) ? name : quoteLabel(name));

/** `name{match}`; a name that is no identifier goes inside the braces. */
export function selector(name: string, match = ''): string {
  if (METRIC.test(name)) return match ? `${name}{${match}}` : name;
  return `{${quoteLabel(name)}${match ? `,${match}` : ''}}`;
}

/** Matchers of `a="b",c!="d"` one by one; commas and braces in quotes do not count. */
export function matchers(match: string | undefined): string[] {
  return match?.match(/(?:"(?:[^"\\]|\\.)*"|[^,"])+/g)?.map((m) => m.trim()).filter(Boolean) ?? [];
}

/** The matchers with one more; the same label's former ones go when this value is wanted alone. */
export function withMatcher(match: string | undefined, label: string, value: string, exclude = false): string {
  const name = labelName(label);
  const kept = matchers(match).filter((m) => (exclude ? m !== `${name}!=${quoteLabel(value)}` : !m.startsWith(`${name}=`) && !m.startsWith(`${name}!`)));
  return [...kept, `${name}${exclude ? '!=' : '='}${quoteLabel(value)}`].join(',');
}

/** A window that holds several samples and spans the steps between two points. */
export function windowFor(stepSeconds: number): string {
  const wanted = Math.max(60, stepSeconds * 4);
  const windows: [number, string][] = [[60, '1m'], [120, '2m'], [300, '5m'], [600, '10m'], [1800, '30m'], [3600, '1h'], [10_800, '3h'], [21_600, '6h'], [86_400, '1d']];
  return windows.find(([s]) => s >= wanted)?.[1] ?? '1d';
}

const UNIT_OF: Record<string, Unit> = { seconds: 'seconds', s: 'seconds', bytes: 'bytes', By: 'bytes', ratio: 'ratio', percent: 'percent', milliseconds: 'milliseconds', ms: 'milliseconds' };

export function build(metric: MetricDetail, view: View, window: string): Built {
  const by = view.by ? labelName(view.by) : '';
  const over = (inner: string, extra: string[] = []) => {
    const labels = [...extra, ...(by ? [by] : [])];
    return labels.length ? ` by (${labels.join(', ')}) (${inner})` : `(${inner})`;
  };
  const grouped = view.by ? ` by ${view.by}` : '';
  const own = UNIT_OF[metric.unit] ?? unitOf(metric.name);
  const part = (suffix: string) => selector(`${metric.name}${suffix}`, view.match);
  const pick = (choices: Aggregation[], fallback: Aggregation) => (choices.includes(view.agg as Aggregation) ? (view.agg as Aggregation) : fallback);
  switch (metric.type) {
    case 'histogram':
    case 'gaugehistogram': {
      const classic = !metric.native;
      const choices: Aggregation[] = by ? ['p99', 'p95', 'p50', 'mean', 'rate'] : ['quantiles', 'p99', 'p95', 'p50', 'mean', 'rate'];
      const agg = pick(choices, choices[0]!);
      const rate = (suffix: string) => (metric.type === 'gaugehistogram' ? part(suffix) : `rate(${part(suffix)}[${window}])`);
      const quantile = (q: number) => (classic ? `histogram_quantile(${q}, sum${over(rate('_bucket'), ['le'])})` : `histogram_quantile(${q}, sum${over(rate(''))})`);
      const common = { unit: own, shades: false, agg, choices };
      if (agg === 'quantiles') return { ...common, queries: [['p50', 0.5], ['p95', 0.95], ['p99', 0.99]].map(([name, q]) => ({ name: name as string, expr: quantile(q as number) })), title: `${metric.name}: p50, p95, p99`, shades: true };
      if (agg === 'rate') return { ...common, unit: 'per_second', queries: [{ name: '', expr: classic ? `sum${over(rate('_count'))}` : `histogram_count(sum${over(rate(''))})` }], title: `${metric.name}: observations per second${grouped}` };
      if (agg === 'mean') return { ...common, queries: [{ name: '', expr: classic ? `sum${over(rate('_sum'))} / sum${over(rate('_count'))}` : `histogram_avg(sum${over(rate(''))})` }], title: `${metric.name}: mean${grouped}` };
      return { ...common, queries: [{ name: '', expr: quantile(Number(`0.${agg.slice(1)}`)) }], title: `${metric.name}: ${agg}${grouped}` };
    }
    case 'counter': {
      const unit: Unit = own === 'bytes' ? 'bytes_rate' : own === 'seconds' ? 'none' : 'per_second';
      const choices: Aggregation[] = ['sum', 'avg', 'max'];
      const agg = pick(choices, 'sum');
      return { queries: [{ name: '', expr: `${agg}${over(`rate(${part('')}[${window}])`)}` }], unit, title: `${metric.name}: ${agg === 'sum' ? '' : `${agg} `}per second${grouped}`, shades: false, agg, choices };
    }
    case 'summary': {
      const choices: Aggregation[] = ['max', 'avg'];
      const agg = pick(choices, 'max');
      return { queries: [{ name: '', expr: `${agg}${over(part(''), ['quantile'])}` }], unit: own, title: `${metric.name}: ${agg} by quantile${view.by ? ` and ${view.by}` : ''}`, shades: false, agg, choices };
    }
    case 'info':
    case 'stateset':
      return { queries: [{ name: '', expr: metric.type === 'info' ? `count${over(part(''))}` : `sum${over(part(''))}` }], unit: 'count', title: `${metric.name}: series${grouped}`, shades: false, agg: 'sum', choices: ['sum'] };
    default: {
      const choices: Aggregation[] = by ? ['avg', 'sum', 'min', 'max'] : ['each', 'avg', 'sum', 'min', 'max'];
      const agg = pick(choices, by || metric.series > EACH_MAX ? 'avg' : 'each');
      return { queries: [{ name: '', expr: agg === 'each' ? part('') : `${agg}${over(part(''))}` }], unit: own, title: `${metric.name}${agg === 'each' ? '' : `: ${agg}`}${grouped}`, shades: false, agg, choices };
    }
  }
}

/** The service a query asks about, when it names one. */
export function serviceIn(expr: string): string | undefined {
  const found = /\b(?:service|service_name|job)="([^"]+)"/.exec(expr)?.[1];
  return found?.slice(found.lastIndexOf('/') + 1);
}

/** Offset in characters of an offset in UTF-8 bytes: the server counts bytes, editors count UTF-16. */
export function charAt(text: string, byte: number): number {
  let bytes = 0;
  let at = 0;
  for (const c of text) {
    if (bytes >= byte) break;
    const point = c.codePointAt(0)!;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    at += c.length;
  }
  return at;
}
