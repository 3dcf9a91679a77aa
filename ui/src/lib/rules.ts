/** Alerting rules as they are written here: fields, YAML, and what a backtest of them says. */
import type { BacktestRule, Episode, LintedRule } from '../api/types';
import { seconds, withUnit, type Unit } from './format';
import { millis, stamp, type Zone } from './time';

/** A rule in fields. Durations are as Prometheus writes them, `5m`. */
export interface Draft { name: string; expr: string; for: string; keep: string; interval: string; labels: [string, string][]; annotations: [string, string][] }

export const EMPTY: Draft = { name: '', expr: '', for: '', keep: '', interval: '', labels: [], annotations: [] };

/** Pages a day beyond which people stop to look: two in each shift of twelve hours. */
export const PAGES_A_DAY_MAX = 4;
/** As many alerts a day that wake nobody are still read. */
export const ALERTS_A_DAY_MAX = 20;

/** `90` as `1m30s`. */
export function promDuration(total: number): string {
  let ms = Math.round(total * 1000);
  if (ms <= 0) return '0s';
  let out = '';
  for (const [unit, size] of [['d', 86_400_000], ['h', 3_600_000], ['m', 60_000], ['s', 1000], ['ms', 1]] as const) {
    const n = Math.floor(ms / size);
    if (n > 0) out += `${n}${unit}`;
    ms -= n * size;
  }
  return out;
}

const WORDS = /^(true|false|null|yes|no|on|off|~|[-+.]?\d.*|\.inf|\.nan)$/i;

/** A text as YAML takes it: plain where it may be, else quoted; several lines as a block. */
export function scalar(text: string, indent: number): string {
  if (text.includes('\n')) {
    const pad = ' '.repeat(indent);
    // The digit says how deep the block is: its first line may begin with spaces.
    const depth = /^[ \t]/.test(text) ? '2' : '';
    return `|${depth}${text.endsWith('\n') ? '' : '-'}\n${text.replace(/\n$/, '').split('\n').map((l) => (l === '' ? '' : pad + l)).join('\n')}`;
  }
  const plain = /^[A-Za-z_(/][^\u0000-\u001f]*$/.test(text) && !/: |:$| #|\s$/.test(text) && !WORDS.test(text);
  if (plain) return text;
  return /[\u0000-\u001f\u007f]/.test(text) ? JSON.stringify(text) : `'${text.replace(/'/g, "''")}'`;
}

const map = (name: string, entries: [string, string][]): string[] => {
  const kept = entries.filter(([k]) => k.trim() !== '');
  return kept.length ? [`    ${name}:`, ...kept.map(([k, v]) => `      ${scalar(k.trim(), 0)}: ${scalar(v, 8)}`)] : [];
};

/** A duration is plain; what is none goes to the server as it is, which says what is wrong with it. */
const time = (text: string): string => (/^(\d+(ms|[smhdwy]))+$/.test(text.trim()) ? text.trim() : scalar(text.trim(), 0));

/** The rule as a file that Prometheus reads. */
export function toYaml(d: Draft): string {
  return [
    'groups:', '- name: new', ...(d.interval.trim() ? [`  interval: ${time(d.interval)}`] : []), '  rules:',
    `  - alert: ${scalar(d.name.trim() || 'NewAlert', 0)}`, `    expr: ${scalar(d.expr, 6)}`,
    ...(d.for.trim() ? [`    for: ${time(d.for)}`] : []), ...(d.keep.trim() ? [`    keep_firing_for: ${time(d.keep)}`] : []),
    ...map('labels', d.labels), ...map('annotations', d.annotations), '',
  ].join('\n');
}

const duration = (s: number): string => (s > 0 ? promDuration(s) : '');

/** A rule that was read, in fields. */
export function fromRule(rule: Omit<LintedRule, 'kind' | 'line'>, interval: number | null = null): Draft {
  return { name: rule.name, expr: rule.expr, for: duration(rule.for_seconds), keep: duration(rule.keep_firing_for_seconds), interval: duration(interval ?? 0), labels: Object.entries(rule.labels), annotations: Object.entries(rule.annotations) };
}

/** Parameters of the editor's address; every one it knows, so that former ones go. */
export function toSearch(d: Draft): Record<string, string> {
  const out: Record<string, string> = {};
  for (const key of ['name', 'expr', 'for', 'keep', 'interval'] as const) if (d[key].trim()) out[key] = key === 'expr' ? d[key] : d[key].trim();
  for (const [prefix, entries] of [['label.', d.labels], ['annotation.', d.annotations]] as const) for (const [k, v] of entries) if (k.trim()) out[prefix + k.trim()] = v;
  return out;
}

export function fromSearch(search: Record<string, unknown>): Draft {
  const text = (key: string) => (typeof search[key] === 'string' ? (search[key] as string) : '');
  const of = (prefix: string) => Object.entries(search).filter(([k]) => k.startsWith(prefix)).map(([k, v]): [string, string] => [k.slice(prefix.length), String(v)]);
  return { name: text('name'), expr: text('expr'), for: text('for'), keep: text('keep'), interval: text('interval'), labels: of('label.'), annotations: of('annotation.') };
}

export interface Sides { left: string; op: string; threshold: number; low: boolean }

/** A comparison with a number: what is drawn, and against what. */
export function sides(expr: string): Sides | null {
  const flat = expr.replace(/#.*$/gm, '').replace(/\s+/g, ' ').trim();
  const found = /^(.*?)\s?(>=|>|<=|<|==|!=)\s*(?:bool\s+)?(-?[\d.]+(?:e[+-]?\d+)?)$/i.exec(flat);
  if (!found || /\b(and|or|unless)\b/.test(flat.replace(/"(?:[^"\\]|\\.)*"/g, '')) || !Number.isFinite(Number(found[3]))) return null;
  // Brackets that are open on the left end are closed on the right one: the comparison stands inside.
  const left = found[1]!.replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, '');
  if ((left.match(/[({[]/g)?.length ?? 0) !== (left.match(/[)}\]]/g)?.length ?? 0)) return null;
  return { left: found[1]!, op: found[2]!, threshold: Number(found[3]), low: found[2]!.startsWith('<') };
}

/** What is drawn of a long range: of each step the worst, or short breaches would fall between two points. */
export function worst(expr: string, low: boolean, stepSeconds: number): string {
  if (stepSeconds <= 60) return expr;
  return `${low ? 'min' : 'max'}_over_time((${expr.replace(/#.*$/gm, '').trim()})[${promDuration(stepSeconds)}:1m])`;
}

/** Of several values the one nearest to firing, against the threshold: why a rule never fired. */
export function closest(values: (number | null)[][], side: Sides): number | null {
  let best: number | null = null;
  for (const list of values) for (const v of list) if (v !== null && (best === null || (side.low ? v < best : v > best))) best = v;
  return best;
}

/** From one moment to another, milliseconds. */
export interface Stretch { from: number; to: number }

/** Stretches that touch are one; those of several alerts together. */
export function union(list: Stretch[]): Stretch[] {
  const out: Stretch[] = [];
  for (const s of [...list].sort((a, b) => a.from - b.from)) {
    const last = out[out.length - 1];
    if (last && s.from <= last.to) last.to = Math.max(last.to, s.to);
    else out.push({ ...s });
  }
  return out;
}

export const fired = (e: Episode, end: number): Stretch | null => (e.fired_at === null ? null : { from: millis(e.fired_at), to: e.ended_at === null ? end : millis(e.ended_at) });
export const pending = (e: Episode, end: number): Stretch => ({ from: millis(e.pending_at), to: e.fired_at !== null ? millis(e.fired_at) : e.ended_at === null ? end : millis(e.ended_at) });

/** How often something began in each day, or in each hour of a short range. */
export function buckets(times: number[], range: Stretch, zone: Zone): { unit: 'day' | 'hour'; rows: { name: string; count: number }[] } {
  const unit = range.to - range.from > 36 * 3_600_000 ? 'day' : 'hour';
  const name = (ms: number) => stamp(ms, zone).slice(0, unit === 'day' ? 10 : 13);
  const rows = new Map<string, number>();
  // By hours, so that days of 23 and 25 hours are there too.
  for (let t = range.from; t < range.to; t += 3_600_000) rows.set(name(t), 0);
  rows.set(name(range.to), rows.get(name(range.to)) ?? 0);
  for (const t of times) if (t >= range.from && t <= range.to) rows.set(name(t), (rows.get(name(t)) ?? 0) + 1);
  return { unit, rows: [...rows].map(([n, count]) => ({ name: unit === 'day' ? n : `${n}:00`, count })) };
}

/** Labels that tell the alerts of a rule apart. */
export function telling(episodes: Episode[]): string[] {
  const names = new Set(episodes.flatMap((e) => Object.keys(e.labels)));
  names.delete('alertname');
  return [...names].filter((n) => new Set(episodes.map((e) => e.labels[n] ?? '')).size > 1).sort();
}

export const labelText = (labels: Record<string, string>, names: string[]): string => names.map((n) => `${n}=${labels[n] ?? ''}`).join(' ');

export interface Verdict { state: 'ok' | 'warning' | 'critical' | 'info' | 'unknown'; word: string; text: string; /** the shortest `for` that would not be too often */ better: number | null }

const times = (n: number, what: string): string => (n === 1 ? `once ${what}`.trim() : `${n} times ${what}`.trim());
const rate = (n: number, days: number): string => (days < 1 ? '' : ` (${(n / days).toFixed(n / days < 10 ? 1 : 0)} a day)`);

/** One sentence on what a rule would have done. */
export function verdict(rule: BacktestRule, days: number, series: { any: boolean; closest: number | null; side: Sides | null; unit: Unit }): Verdict {
  const raised = rule.episodes.filter((e) => e.fired_at !== null).length;
  const pages = rule.episodes.filter((e) => e.fired_at !== null && e.page).length;
  if (rule.error) return { state: 'critical', word: 'fails', text: rule.error, better: null };
  if (raised === 0) {
    if (!series.any && rule.episodes.length === 0) return { state: 'unknown', word: 'no data', text: series.side ? 'Its expression gives no series in this range: nothing was stored that it could judge.' : 'Its condition held at no time in this range, or nothing was stored that it could judge.', better: null };
    const near = series.side && series.closest !== null && rule.episodes.length === 0 ? ` The nearest it came was ${withUnit(series.closest, series.unit)} against ${series.side.op} ${withUnit(series.side.threshold, series.unit)}.` : '';
    const held = rule.episodes.length ? ` It was pending ${times(rule.episodes.length, '')}, never for ${seconds(rule.for_seconds)}.` : '';
    return { state: 'info', word: 'never fired', text: `It would never have fired.${held}${near}`, better: null };
  }
  // A range of less than a day counts as one: three alerts in an hour are not seventy a day.
  const span = Math.max(days, 1);
  const often = pages > 0 ? pages / span > PAGES_A_DAY_MAX : raised / span > ALERTS_A_DAY_MAX;
  const fine = (c: BacktestRule['for_choices'][number]) => (pages > 0 ? c.pages / span <= PAGES_A_DAY_MAX : c.fired / span <= ALERTS_A_DAY_MAX);
  const better = often ? (rule.for_choices.find((c) => c.for_seconds > rule.for_seconds && fine(c) && c.fired > 0)?.for_seconds ?? null) : null;
  const firing = `fired ${times(raised, '')}${rate(raised, days)}, ${seconds(rule.firing_seconds)} in all`;
  const paging = pages === 0 ? ' and woken nobody' : pages === raised ? ' and woken somebody each time' : ` and woken somebody ${times(pages, '')}${rate(pages, days)}`;
  return { state: often ? 'warning' : 'ok', word: often ? 'fires too often' : pages > 0 ? 'pages' : 'fires', text: `It would have ${firing}${paging}.${often ? ` More than ${pages > 0 ? `${PAGES_A_DAY_MAX} pages` : `${ALERTS_A_DAY_MAX} alerts`} a day are not read any more.` : ''}`, better };
}
