/** Times: ranges as they stand in URLs, nanoseconds as text, and how both are shown. */

export const SECOND = 1_000_000_000n;
export type Zone = 'utc' | 'local';

/** A range as the URL holds it: `-3h`/`now`, or ISO times. */
export interface Range {
  from: string;
  to: string;
}

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** Milliseconds of `15m`, `1h30m`; null when it is none. */
export function durationMs(text: string): number | null {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d|w))+$/.test(text)) return null;
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d|w)/g)) total += Number(number) * (UNITS[unit!] ?? 0);
  return total;
}

/** Unix milliseconds of one end of a range; null when it cannot be read. */
export function resolve(text: string, now: number): number | null {
  if (text === 'now') return now;
  const relative = /^(?:now)?-(.+)$/.exec(text);
  if (relative) {
    const back = durationMs(relative[1]!);
    return back === null ? null : now - back;
  }
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? null : ms;
}

export function isRelative(range: Range): boolean {
  return range.to === 'now';
}

/** Both ends in Unix milliseconds; falls back to the last hour when the URL makes no sense. */
export function bounds(range: Range, now: number): { from: number; to: number } {
  const to = resolve(range.to, now) ?? now;
  const from = resolve(range.from, now);
  return from !== null && from < to ? { from, to } : { from: to - 3_600_000, to };
}

export const nanos = (ms: number): string => `${Math.round(ms)}000000`;
export const millis = (ns: string): number => Number(BigInt(ns) / 1_000_000n);

const pad = (n: number, width = 2): string => String(n).padStart(width, '0');

function parts(ms: number, zone: Zone) {
  const d = new Date(ms);
  return zone === 'utc'
    ? { y: d.getUTCFullYear(), mo: d.getUTCMonth() + 1, d: d.getUTCDate(), h: d.getUTCHours(), mi: d.getUTCMinutes(), s: d.getUTCSeconds(), ms: d.getUTCMilliseconds() }
    : { y: d.getFullYear(), mo: d.getMonth() + 1, d: d.getDate(), h: d.getHours(), mi: d.getMinutes(), s: d.getSeconds(), ms: d.getMilliseconds() };
}

/** `03:12:40`, with milliseconds on demand. */
export function clock(ms: number, zone: Zone, precise = false): string {
  const p = parts(ms, zone);
  return `${pad(p.h)}:${pad(p.mi)}:${pad(p.s)}${precise ? `.${pad(p.ms, 3)}` : ''}`;
}

/** `2026-11-20 03:12:40`. */
export function stamp(ms: number, zone: Zone): string {
  const p = parts(ms, zone);
  return `${p.y}-${pad(p.mo)}-${pad(p.d)} ${clock(ms, zone)}`;
}

/** `00:12 – 03:12`, with dates when the range spans days. */
export function rangeText(from: number, to: number, zone: Zone): string {
  const days = stamp(from, zone).slice(0, 10) !== stamp(to, zone).slice(0, 10) || to - from > 86_400_000;
  const show = (ms: number) => (days ? stamp(ms, zone).slice(5, 16) : clock(ms, zone).slice(0, to - from < 600_000 ? 8 : 5));
  return `${show(from)} – ${show(to)}`;
}

export const zoneName = (zone: Zone): string =>
  zone === 'utc' ? 'UTC' : (new Intl.DateTimeFormat('en', { timeZoneName: 'short' }).formatToParts(new Date()).find((p) => p.type === 'timeZoneName')?.value ?? 'local');

/** `4 min ago`; only ever shown beside or above the absolute time. */
export function ago(ms: number, now: number): string {
  const s = Math.max(0, Math.round((now - ms) / 1000));
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min ago`;
  return `${Math.floor(s / 86_400)} d ago`;
}
