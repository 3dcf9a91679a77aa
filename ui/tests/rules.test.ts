import { Text } from '@codemirror/state';
import { describe, expect, it } from 'vitest';
import type { BacktestRule, Episode } from '../src/api/types';
import { buckets, closest, EMPTY, fromRule, fromSearch, promDuration, scalar, sides, telling, toSearch, toYaml, union, verdict, worst } from '../src/lib/rules';
import { expressionAt } from '../src/pages/rule/expression';

const H = 3_600_000;
const ns = (ms: number) => `${ms}000000`;
const episode = (at: number, minutes: number, more: Partial<Episode> = {}): Episode => ({ labels: { alertname: 'A', service: 'a' }, annotations: {}, page: true, pending_at: ns(at), fired_at: ns(at), ended_at: ns(at + minutes * 60_000), held_until: ns(at + minutes * 60_000), value: 1, peak: 2, messages: [], ...more });
const rule = (episodes: Episode[], more: Partial<BacktestRule> = {}): BacktestRule => ({ group: 'g', name: 'A', kind: 'alerting', expr: 'x > 1', for_seconds: 0, error: null, firing_seconds: 60, for_choices: [], episodes, ...more });

describe('rules as text', () => {
  it('is YAML that means what was typed', () => {
    expect(toYaml({ ...EMPTY, name: 'Errors', expr: 'rate(x{a="b: c"}[5m]) > 1', for: '5m', labels: [['severity', 'page'], ['', 'dropped']], annotations: [['summary', '{{ $value }} fail'], ['text', 'two\nlines']] })).toBe(
      "groups:\n- name: new\n  rules:\n  - alert: Errors\n    expr: 'rate(x{a=\"b: c\"}[5m]) > 1'\n    for: 5m\n    labels:\n      severity: page\n    annotations:\n      summary: '{{ $value }} fail'\n      text: |-\n        two\n        lines\n",
    );
    for (const [text, out] of [['up == 0', 'up == 0'], ['yes', "'yes'"], ['5m', "'5m'"], ["it's # one", "'it''s # one'"], ['', "''"], ['ends:', "'ends:'"], ['tab\t', '"tab\\t"']] as const) expect(scalar(text, 2)).toBe(out);
  });
  it('comes back from the address and from the server', () => {
    const draft = { ...EMPTY, name: 'A', expr: 'up == 0', for: '5m', labels: [['severity', 'page']] as [string, string][], annotations: [['summary', '']] as [string, string][] };
    expect(fromSearch(toSearch(draft))).toEqual(draft);
    expect(fromRule({ name: 'A', expr: 'up == 0', for_seconds: 90, keep_firing_for_seconds: 0, labels: {}, annotations: { s: 't' } }, 30)).toEqual({ ...EMPTY, name: 'A', expr: 'up == 0', for: '1m30s', interval: '30s', annotations: [['s', 't']] });
    expect([0, 90, 86_400, 0.5].map(promDuration)).toEqual(['0s', '1m30s', '1d', '500ms']);
  });
  it('knows where an expression stands', () => {
    const doc = Text.of(['groups:', '- name: a', '  rules:', '  - alert: A', '    expr: up == 0', '    for: 5m', '  - alert: B', '    expr: |', '      sum(', '        up) > 1', '    labels: {a: b}']);
    const at = (line: number, column: number) => { const found = expressionAt(doc, doc.line(line).from + column); return found && doc.sliceString(found.from, found.to); };
    expect(at(5, 12)).toBe('up == 0');
    expect(at(5, 3)).toBeNull();
    expect(at(6, 8)).toBeNull();
    expect(at(9, 10)).toBe('      sum(');
    expect(at(10, 10)).toBe('      sum(\n        up)'.concat(' > 1'));
    expect(at(11, 8)).toBeNull();
  });
});

describe('what a condition is held against', () => {
  it('is the number on its right', () => {
    const of = (expr: string) => { const s = sides(expr); return s && [s.left, s.op, s.threshold]; };
    expect(of('up == 0')).toEqual(['up', '==', 0]);
    expect(of('sum(rate(x[5m]))\n  / 2 >= 1e-3 # why')).toEqual(['sum(rate(x[5m])) / 2', '>=', 0.001]);
    expect(of('x{a=">"}>0.5')).toEqual(['x{a=">"}', '>', 0.5]);
    expect(of('x > bool 1')).toEqual(['x', '>', 1]);
    for (const none of ['x > 1 and y > 2', 'sum(x > 1', 'count(x > 5) ', 'absent(up)', 'a > b']) expect(of(none)).toBeNull();
    expect([worst('up # why', false, 60), worst('a - b # why', false, 3600), worst('x', true, 300)]).toEqual(['up # why', 'max_over_time((a - b)[1h:1m])', 'min_over_time((x)[5m:1m])']);
    expect(closest([[1, null, 3], [2]], { left: '', op: '>', threshold: 5, low: false })).toBe(3);
    expect(closest([[1, null, 3]], { left: '', op: '<', threshold: 0, low: true })).toBe(1);
  });
});

describe('what a backtest says', () => {
  const none = { any: true, closest: 3, side: sides('x > 5'), unit: 'none' as const };
  it('has one word for each outcome', () => {
    expect(verdict(rule([]), 1, none)).toMatchObject({ word: 'never fired', text: expect.stringContaining('3 against > 5') });
    expect(verdict(rule([]), 1, { ...none, any: false }).word).toBe('no data');
    expect(verdict(rule([], { error: 'many-to-many' }), 1, none)).toMatchObject({ word: 'fails', text: 'many-to-many' });
    expect(verdict(rule([episode(0, 5)]), 1, none)).toMatchObject({ word: 'pages', state: 'ok' });
    expect(verdict(rule([episode(0, 5, { page: false })]), 1, none).word).toBe('fires');
    expect(verdict(rule([episode(0, 5, { fired_at: null })], { for_seconds: 600 }), 1, none).text).toContain('It was pending once, never for');
  });
  it('names the shortest `for` that is bearable', () => {
    const many = Array.from({ length: 9 }, (_, i) => episode(i * H, 5));
    const for_choices = [{ for_seconds: 0, fired: 9, pages: 9 }, { for_seconds: 60, fired: 8, pages: 8 }, { for_seconds: 300, fired: 3, pages: 3 }, { for_seconds: 600, fired: 0, pages: 0 }];
    expect(verdict(rule(many, { for_choices }), 1, none)).toMatchObject({ word: 'fires too often', better: 300 });
    // Within an hour they are nine, not two hundred a day; in a week they are few.
    expect(verdict(rule(many.slice(0, 3), { for_choices }), 1 / 24, none).word).toBe('pages');
    expect(verdict(rule(many, { for_choices }), 7, none).word).toBe('pages');
  });
  it('counts days in the zone that is shown, and joins stretches', () => {
    const day = Date.UTC(2026, 10, 20);
    const { unit, rows } = buckets([day + H, day + 2 * H, day + 30 * H], { from: day, to: day + 72 * H }, 'utc');
    expect([unit, rows.slice(0, 3)]).toEqual(['day', [{ name: '2026-11-20', count: 2 }, { name: '2026-11-21', count: 1 }, { name: '2026-11-22', count: 0 }]]);
    expect(buckets([day], { from: day, to: day + 2 * H }, 'utc').rows[0]).toEqual({ name: '2026-11-20 00:00', count: 1 });
    expect(union([{ from: 5, to: 6 }, { from: 0, to: 2 }, { from: 1, to: 3 }])).toEqual([{ from: 0, to: 3 }, { from: 5, to: 6 }]);
    expect(telling([episode(0, 1), episode(1, 1, { labels: { alertname: 'A', service: 'b', x: '1' } })])).toEqual(['service', 'x']);
  });
});
