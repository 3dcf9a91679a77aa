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
  if (abs < 7200) return `${Math.floor(value / 60)}${THIN}min ${Math.round(value % 60)}${THIN}s`;
  if (abs < 172_800) return `${Math.floor(value / 3600)}${THIN}h ${Math.round((value % 3600) / 60)}${THIN}min`;
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
  return `${unit === 0 ? v : significant(v)}${THIN}${units[unit]}`;
}

export const perSecond = (value: number | null | undefined): string => (value === null || value === undefined ? '—' : `${count(value)}${THIN}req/s`);

export type Unit = 'seconds' | 'ratio' | 'bytes' | 'rate' | 'count' | 'none';

export function withUnit(value: number | null | undefined, unit: Unit): string {
  switch (unit) {
    case 'seconds': return seconds(value);
    case 'ratio': return percent(value);
    case 'bytes': return bytes(value);
    case 'rate': return perSecond(value);
    default: return count(value);
  }
}

/** The unit a metric's name states, by Prometheus' conventions. */
export function unitOf(expression: string): Unit {
  if (/_seconds(_|\b)/.test(expression) && !/_(count|total)\b/.test(expression)) return 'seconds';
  if (/_bytes(_|\b)/.test(expression)) return 'bytes';
  if (/_ratio\b/.test(expression)) return 'ratio';
  return 'none';
}
