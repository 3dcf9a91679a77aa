import { describe, expect, it } from 'vitest';
import { formatted, join, split, unitNamed, variableQuery } from '../src/lib/dashboards';
import { prefixedSearch } from '../src/app/search';

const plain = (text: string) => text.replaceAll('\u2009', ' ');

describe('variables in addresses', () => {
  it('hold several values, commas among them', () => {
    for (const values of [['a'], ['a', 'b'], ['x,y', 'back\\slash'], ['']]) expect(split(join(values))).toEqual(values);
    expect(join(['a,b', 'c'])).toBe('a\\,b,c');
  });
  it('go to the server one a value; a repeat has its own', () => {
    expect(variableQuery({ from: '-1h', 'var.job': 'a,b', 'var.route': '/x' })).toBe('var.job=a&var.job=b&var.route=%2Fx');
    expect(variableQuery({ 'var.job': 'a,b' }, { job: 'b' })).toBe('var.job=b');
  });
  it('are kept by the route, cleared texts too', () => {
    expect(prefixedSearch(['var.'], 'tab')({ 'var.a': 1, 'var.b': '', other: 'x', tab: 'source', from: '-1h' })).toEqual({ 'var.a': '1', 'var.b': '', tab: 'source', from: '-1h' });
  });
});

describe('units of documents', () => {
  it('are written as people read them', () => {
    expect(plain(formatted(0.25, { unit: 'seconds' }))).toBe('250 ms');
    expect(plain(formatted(1500, { unit: 'microseconds' }))).toBe('1.50 ms');
    expect(formatted(0.123, { unit: 'percent-decimal' })).toBe('12.3%');
    expect(formatted(3.14159, { unit: 'decimal', decimalPlaces: 1 })).toBe('3.1');
    expect(formatted(99.9912, { unit: 'percent', decimalPlaces: 1 })).toBe('100.0%');
    expect(plain(formatted(2048, { unit: 'kibibytes' }))).toBe('2.10 MB');
    expect(plain(formatted(174.691525, { unit: 'bytes' }))).toBe('175 B');
    expect(plain(formatted(42.5, { unit: 'celsius' }))).toBe('42.5 °C');
    expect(formatted(1_700_000_000_000, { unit: 'datetime' })).toBe('2023-11-14 22:13:20');
    expect(formatted(null, { unit: 'bytes' })).toBe('—');
    expect(unitNamed('packets/sec').unit).toBe('per_second');
  });
});
