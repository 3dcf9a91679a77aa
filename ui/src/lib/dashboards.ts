/** Variables of dashboards in addresses, and units by the names that documents use. */
import type { Format } from '../api/types';
import { count, withUnit, type Unit } from './format';
import { stamp } from './time';

/** Several values in one parameter: separated by commas, a comma inside a value is escaped. */
export const join = (values: string[]): string => values.map((v) => v.replace(/[\\,]/g, (c) => `\\${c}`)).join(',');

export function split(text: string): string[] {
  const out: string[] = [];
  let value = '';
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\' && i + 1 < text.length) value += text[++i];
    else if (text[i] === ',') { out.push(value); value = ''; }
    else value += text[i];
  }
  return [...out, value];
}

/** `var.NAME` of an address as the server takes them: repeated, one a value. */
export function variableQuery(search: Record<string, unknown>, more: Record<string, string> = {}): string {
  const pairs = new URLSearchParams();
  for (const [key, value] of Object.entries(search)) {
    if (!key.startsWith('var.') || key.slice(4) in more) continue;
    for (const one of split(String(value))) pairs.append(key, one);
  }
  for (const [name, value] of Object.entries(more)) pairs.append(`var.${name}`, value);
  return pairs.toString();
}

const UNITS: Record<string, [Unit, number]> = {
  nanoseconds: ['seconds', 1e-9], microseconds: ['seconds', 1e-6], milliseconds: ['milliseconds', 1], seconds: ['seconds', 1], minutes: ['seconds', 60], hours: ['seconds', 3600], days: ['seconds', 86_400], weeks: ['seconds', 604_800],
  percent: ['percent', 1], '%': ['percent', 1], 'percent-decimal': ['ratio', 1], bytes: ['bytes', 1], kilobytes: ['bytes', 1e3], megabytes: ['bytes', 1e6], gigabytes: ['bytes', 1e9], kibibytes: ['bytes', 1024], mebibytes: ['bytes', 1024 ** 2], gibibytes: ['bytes', 1024 ** 3], decbytes: ['bytes', 1], 'bytes/sec': ['bytes_rate', 1], 'decbytes/sec': ['bytes_rate', 1], 'bits/sec': ['bits_rate', 1], 'decbits/sec': ['bits_rate', 1], 'kilobytes/sec': ['bytes_rate', 1e3], 'megabytes/sec': ['bytes_rate', 1e6], 'kibibytes/sec': ['bytes_rate', 1024], 'mebibytes/sec': ['bytes_rate', 1024 ** 2], 'kilobits/sec': ['bits_rate', 1e3], 'megabits/sec': ['bits_rate', 1e6], 'gigabits/sec': ['bits_rate', 1e9],
  'requests/sec': ['rate', 1], decimal: ['count', 1],
};

/** The unit of a document, and what values are multiplied by to have it. */
export function unitNamed(name: string | undefined): { unit: Unit; factor: number } {
  const known = name ? UNITS[name] : undefined;
  if (known) return { unit: known[0], factor: known[1] };
  return { unit: name?.endsWith('/sec') ? 'per_second' : 'none', factor: 1 };
}

/** Units that only stand behind the number. */
const SUFFIXES: Record<string, string> = { celsius: '\u2009°C', fahrenheit: '\u2009°F', volts: '\u2009V', amperes: '\u2009A', watts: '\u2009W', joules: '\u2009J', hertz: '\u2009Hz', rpm: '\u2009rpm', 'requests/min': '\u2009req/min', 'counts/min': '/min', 'ops/min': '/min', 'reads/min': '/min', 'writes/min': '/min' };

export function formatted(value: number | null | undefined, format: Format | undefined): string {
  const { unit, factor } = unitNamed(format?.unit);
  if (value === null || value === undefined || !Number.isFinite(value)) return '—';
  if (format?.unit === 'datetime') return stamp(value, 'utc');
  const suffix = SUFFIXES[format?.unit ?? ''];
  if (suffix !== undefined) return `${format?.decimalPlaces === undefined ? count(value) : value.toFixed(format.decimalPlaces)}${suffix}`;
  if (format?.decimalPlaces !== undefined && (unit === 'percent' || unit === 'ratio')) return `${(value * factor * (unit === 'ratio' ? 100 : 1)).toFixed(format.decimalPlaces)}%`;
  if (format?.decimalPlaces !== undefined && (unit === 'none' || unit === 'count')) return (value * factor).toFixed(format.decimalPlaces);
  return withUnit(value * factor, unit);
}
