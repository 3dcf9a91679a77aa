/** Numbers as people read them: three significant figures, base units, a thin space before units. */

const THIN = '\u2009';

/** Three significant figures without trailing zeros beyond them. */
export function significant(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}

/** `12.4k`, `3.2M`. */
export function count(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '—';
  const abs = Math.abs(value);
  if (abs >= 1e9) return `${significant(value / 1e9)}B`;
  if (abs >= 1e6) return `${significant(value / 1e6)}M`;
  if (abs >= 1e4) return `${significant(value / 1e3)}k`;
  if (Number.isInteger(value)) return value.toLocaleString('en-US');
  return significant(value);
}

/** Seconds as `1.84 s`, `302 ms`, `400 µs`. */
export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '—';
  const abs = Math.abs(value);
  if (abs === 0) return `0${THIN}s`;
  if (abs < 1e-6) return `${significant(value * 1e9)}${THIN}ns`;
  if (abs < 1e-3) return `${significant(value * 1e6)}${THIN}µs`;
  if (abs < 1) return `${significant(value * 1e3)}${THIN}ms`;
  if (abs < 120) return `${significant(value)}${THIN}s`;
  // Rounded as a whole first: 359.9 s are 6 min, not 5 min 60 s.
  if (abs < 7200) return `${Math.trunc(Math.round(value) / 60)}${THIN}min ${Math.round(value) % 60}${THIN}s`;
  if (abs < 172_800) return `${Math.trunc(Math.round(value / 60) / 60)}${THIN}h ${Math.round(value / 60) % 60}${THIN}min`;
  return `${significant(value / 86_400)}${THIN}d`;
}

export const nanoseconds = (ns: number | null | undefined): string => seconds(ns === null || ns === undefined ? null : ns / 1e9);

/** A share of one as `9.8%`, `99.95%`. */
export function percent(ratio: number | null | undefined): string {
  if (ratio === null || ratio === undefined || !Number.isFinite(ratio)) return '—';
  const p = ratio * 100;
  if (p !== 0 && Math.abs(p) < 0.01) return '<0.01%';
  // Near one the digits after the nines are what matters.
  if (p > 99 && p < 100) return `${p.toFixed(p > 99.9 ? 3 : 2).replace(/0+$/, '').replace(/\.$/, '')}%`;
  return `${significant(p).replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '')}%`;
}

/** Decimal bytes: `38 MB`. */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '—';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let v = value;
  while (Math.abs(v) >= 1000 && unit < units.length - 1) {
    v /= 1000;
    unit += 1;
  }
  return `${unit === 0 && Number.isInteger(v) ? v : significant(v)}${THIN}${units[unit]}`;
}

export const perSecond = (value: number | null | undefined): string => (value === null || value === undefined ? '—' : `${count(value)}${THIN}req/s`);

export type Unit = 'seconds' | 'milliseconds' | 'ratio' | 'percent' | 'bytes' | 'bytes_rate' | 'bits_rate' | 'rate' | 'per_second' | 'count' | 'none';

const suffixed = (value: number | null | undefined, suffix: string): string => (value === null || value === undefined || !Number.isFinite(value) ? '—' : `${count(value)}${suffix}`);

function bits(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '—';
  const units = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'];
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.abs(value) || 1) / 3)));
  return `${significant(value / 1000 ** unit)}${THIN}${units[unit]}`;
}

export function withUnit(value: number | null | undefined, unit: Unit): string {
  switch (unit) {
    case 'seconds': return seconds(value);
    case 'milliseconds': return seconds(value === null || value === undefined ? value : value / 1000);
    case 'ratio': return percent(value);
    case 'percent': return percent(value === null || value === undefined ? value : value / 100);
    case 'bytes': return bytes(value);
    case 'bytes_rate': return value === null || value === undefined ? '—' : `${bytes(value)}/s`;
    case 'bits_rate': return bits(value);
    case 'rate': return perSecond(value);
    case 'per_second': return suffixed(value, '/s');
    default: return count(value);
  }
}

/** The unit of a query's values, by what the names in it state and what is done to them. */
export function unitOf(expression: string): Unit {
  const rate = /\b(rate|irate|deriv)\s*\(/.test(expression);
  if (/\bhistogram_(quantile|avg|stddev)/.test(expression)) return /_bytes/.test(expression) ? 'bytes' : /_seconds/.test(expression) ? 'seconds' : 'none';
  if (/_ratio\b/.test(expression)) return 'ratio';
  // A quotient of two rates has the unit of neither.
  if (rate && /\)\s*\//.test(expression)) return /_sum\b/.test(expression) && /_count\b/.test(expression) ? (/_seconds_/.test(expression) ? 'seconds' : /_bytes_/.test(expression) ? 'bytes' : 'none') : 'none';
  if (/_seconds(_|\b)/.test(expression) && !/_(count|total|bucket)\b/.test(expression) && !rate) return 'seconds';
  if (/_bytes(_|\b)/.test(expression) && !/_(count|bucket)\b/.test(expression)) return rate ? 'bytes_rate' : 'bytes';
  // Seconds per second: a share, as of processors.
  return rate && !/_seconds_(total|sum)\b/.test(expression) ? 'per_second' : 'none';
}
