/** What a rule would have done: one sentence, its values against the limit, when it fired, how often, and with another `for`. */
import { useMemo } from 'react';
import type { UseQueryResult } from '@tanstack/react-query';
import { CallError } from '../../api/client';
import { useRanged } from '../../api/hooks';
import type { Backtest, BacktestRule, Episode } from '../../api/types';
import type { Band } from '../../charts/TimeChart';
import { TimeChart } from '../../charts/TimeChart';
import { usePreferences, useRange, useSetSearch } from '../../app/context';
import { Async, ErrorBox } from '../../components/Async';
import { Cost } from '../../components/Cost';
import { Link } from '../../components/Link';
import { Status } from '../../components/Status';
import { count, seconds, unitOf, withUnit, type Unit } from '../../lib/format';
import { matrixFrame, promRange, stepFor, type PromMatrix } from '../../lib/prom';
import { buckets, closest, fired, labelText, pending, promDuration, sides, telling, union, verdict, worst, type Stretch } from '../../lib/rules';
import { millis, stamp, zoneName } from '../../lib/time';

/** Alerts that get a line of their own, and rows of the list. */
const LANES_MAX = 12;
const ROWS_MAX = 200;

export function Outcome({ query, typing, selected, onFor }: { query: UseQueryResult<Backtest>; typing: boolean; selected: number; onFor: ((value: string) => void) | undefined }) {
  const set = useSetSearch();
  if (query.isError && !query.isPlaceholderData && query.data === undefined) return <ErrorBox error={query.error} onRetry={() => void query.refetch()} />;
  if (query.data === undefined && !query.isFetching) return <div aria-busy="true" className="skeletons"><div className="skeleton" style={{ height: 220 }} /></div>;
  return (
    <Async query={query} skeleton={8}>
      {(data) => {
        const rule = data.rules[selected] ?? data.rules.find((r) => r.kind === 'alerting') ?? data.rules[0];
        if (!rule) return <section className="panel"><div className="empty">There is no rule in it.</div></section>;
        return (
          <div className={typing ? 'stale' : undefined}>
            {data.rules.length > 1 ? (
              <div className="chips" role="group" aria-label="Rules">
                {data.rules.map((r, i) => <button key={`${r.group} ${r.name} ${i}`} type="button" className="chip" aria-pressed={r === rule} onClick={() => set({ sel: i }, true)}>{r.name} <span className="sub num">{r.kind === 'recording' ? 'recorded' : r.episodes.filter((e) => e.fired_at !== null).length}</span></button>)}
              </div>
            ) : null}
            {rule.kind === 'recording' ? (
              <section className="panel gone"><p><strong>{rule.name}</strong> records a series and cannot fire. <code>skopos rules backfill</code> writes it for the past.</p><Link to="/explore/metrics" search={{ expr: rule.expr }}>Its values</Link></section>
            ) : <Alerting rule={rule} report={data} onFor={onFor} />}
          </div>
        );
      }}
    </Async>
  );
}

function Alerting({ rule, report, onFor }: { rule: BacktestRule; report: Backtest; onFor: ((value: string) => void) | undefined }) {
  const { bounds } = useRange();
  const { zone } = usePreferences();
  const side = useMemo(() => sides(rule.expr), [rule.expr]);
  const shown = side?.left ?? rule.expr;
  const unit: Unit = unitOf(shown);
  const step = stepFor(bounds);
  const series = useRanged<PromMatrix>('/api/v1/query_range', promRange(worst(shown, side?.low ?? false, step), bounds), rule.error === null);
  const frame = useMemo(() => (series.data ? matrixFrame(series.data, bounds) : null), [series.data, bounds]);
  const range: Stretch = { from: millis(report.from), to: millis(report.to) };
  const days = (range.to - range.from) / 86_400_000;
  const raised = rule.episodes.filter((e) => e.fired_at !== null);
  const bands = useMemo<Band[]>(() => {
    const firing = union(rule.episodes.map((e) => fired(e, range.to)).filter((s): s is Stretch => s !== null));
    const waiting = union(rule.episodes.map((e) => pending(e, range.to)).filter((s) => s.to > s.from));
    return [...waiting.map((s) => ({ ...s, title: 'pending', mild: true })), ...firing.map((s) => ({ ...s, title: rule.name }))];
    // The stretches follow from the report alone.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [rule, report.to]);
  const says = verdict(rule, days, { any: (frame?.series.length ?? 0) > 0, closest: side && frame ? closest(frame.series.map((s) => s.values), side) : null, side, unit });
  const notes = [...(series.data?.warnings ?? []), ...(series.data?.infos ?? [])];
  return (
    <>
      <section className="panel rule-verdict" data-testid="verdict" data-word={says.word}>
        <p><Status state={says.state}>{says.word}</Status> {says.text}{report.truncated ? ' There were more alerts than are told; the figures are the least.' : ''}</p>
        {says.better !== null ? <p>With <code>for: {promDuration(says.better)}</code> it would keep within that{onFor ? <>: <button type="button" className="link-button" onClick={() => onFor(promDuration(says.better!))}>use it</button></> : '.'}</p> : null}
        {says.word === 'no data' ? <p className="sub">Look whether the names in it are there: <Link to="/explore/metrics" search={{ expr: shown }}>{shown.length > 60 ? `${shown.slice(0, 60)}…` : shown}</Link>; or choose an earlier range.</p> : null}
      </section>
      {notes.map((n) => <div key={n} className="strip">▲ {n}</div>)}
      {series.isError && !series.isPlaceholderData ? (
        <ErrorBox error={series.error instanceof CallError ? series.error : new Error('The values could not be loaded')} onRetry={() => void series.refetch()} />
      ) : frame ? (
        <TimeChart title={side ? 'Value against the limit' : 'Value while the condition holds'} sub={step > 60 ? `the ${side?.low ? 'least' : 'greatest'} of each ${promDuration(step)}` : ''} unit={unit} frame={frame} height={240} bands={bands}
          {...(side ? { threshold: { value: side.threshold, name: `fires ${{ '>': 'above', '>=': 'from', '<': 'below', '<=': 'up to', '==': 'at', '!=': 'other than' }[side.op] ?? 'at'}` } } : {})}
          actions={<Link to="/explore/metrics" search={{ expr: shown }}>Explore</Link>} />
      ) : <div aria-busy="true" className="skeletons"><div className="skeleton" style={{ height: 240 }} /></div>}
      <Lanes episodes={rule.episodes} range={range} />
      <div className="grid rule-figures">
        {raised.length ? <Often episodes={raised} range={range} /> : null}
        {rule.episodes.length ? <Choices rule={rule} onFor={onFor} /> : null}
      </div>
      {rule.episodes.length ? <List rule={rule} unit={unit} /> : null}
      <div className="foot">{stamp(range.from, zone)} – {stamp(range.to, zone)} {zoneName(zone)} · {rule.episodes.length} pending, {raised.length} fired, {count(report.messages)} messages · <Cost stats={report.stats} /></div>
    </>
  );
}

/** One line an alert: when it was pending (outlined) and when it fired (filled). */
function Lanes({ episodes, range }: { episodes: Episode[]; range: Stretch }) {
  const { zone } = usePreferences();
  const names = telling(episodes);
  const lanes = useMemo(() => {
    const by = new Map<string, Episode[]>();
    for (const e of episodes) {
      const key = labelText(e.labels, names);
      by.set(key, [...(by.get(key) ?? []), e]);
    }
    return [...by].map(([name, list]) => ({ name, list, fired: list.filter((e) => e.fired_at !== null).length })).sort((a, b) => b.fired - a.fired);
    // The names follow from the episodes.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [episodes]);
  if (episodes.length === 0) return null;
  const at = (s: Stretch) => {
    const left = Math.max(0, ((s.from - range.from) / (range.to - range.from)) * 100);
    return { left: `${left}%`, width: `${Math.max(0, Math.min(100, ((s.to - range.from) / (range.to - range.from)) * 100) - left)}%` };
  };
  return (
    <section className="panel" data-testid="lanes">
      <header>Alerts over time <span className="sub"><span className="lane-key pending" aria-hidden /> pending <span className="lane-key" aria-hidden /> firing <span className="lane-key page" aria-hidden /> waking somebody</span></header>
      <div className="lanes">
        {lanes.slice(0, LANES_MAX).map((lane) => (
          <div key={lane.name} className="lane">
            <span className="mono cut" title={lane.name}>{lane.name || 'alert'}</span>
            <div className="lane-track" role="img" aria-label={`${lane.name || 'alert'}: pending ${lane.list.length} times, fired ${lane.fired} times`}>
              {lane.list.map((e, i) => {
                const waiting = pending(e, range.to);
                const burning = fired(e, range.to);
                return (
                  <span key={i}>
                    {waiting.to > waiting.from ? <i className="pending" style={at(waiting)} title={`pending from ${stamp(waiting.from, zone)}`} /> : null}
                    {burning ? <i className={e.page ? 'page' : ''} style={at(burning)} title={`fired ${stamp(burning.from, zone)} – ${stamp(burning.to, zone)}`} /> : null}
                  </span>
                );
              })}
            </div>
            <span className="num sub">{lane.fired}</span>
          </div>
        ))}
      </div>
      {lanes.length > LANES_MAX ? <div className="foot">{LANES_MAX} of {lanes.length} alerts, those that fired most</div> : null}
    </section>
  );
}

/** Pages in each day; of a rule that wakes nobody its alerts. */
function Often({ episodes, range }: { episodes: Episode[]; range: Stretch }) {
  const { zone } = usePreferences();
  const pages = episodes.filter((e) => e.page);
  const counted = pages.length ? pages : episodes;
  const { unit, rows } = buckets(counted.map((e) => millis(e.fired_at!)), range, zone);
  const most = Math.max(1, ...rows.map((r) => r.count));
  return (
    <section className="panel c6" data-testid="often">
      <header>{pages.length ? 'Pages' : 'Alerts'} in each {unit} <span className="sub">at most {most}</span></header>
      <div className={`often ${pages.length ? 'page' : ''}`} role="img" aria-label={`${pages.length ? 'Pages' : 'Alerts'} in each ${unit}: ${rows.filter((r) => r.count).map((r) => `${r.name} ${r.count}`).join(', ') || 'none'}`}>
        {rows.map((r) => <span key={r.name} title={`${r.name}: ${r.count}`}><i style={{ height: `${(r.count / most) * 100}%` }} /></span>)}
      </div>
      <div className="hist-axis sub num"><span>{rows[0]!.name}</span><span>{rows[rows.length - 1]!.name}</span></div>
    </section>
  );
}

function Choices({ rule, onFor }: { rule: BacktestRule; onFor: ((value: string) => void) | undefined }) {
  const most = Math.max(1, ...rule.for_choices.map((c) => c.fired));
  return (
    <section className="panel c6" data-testid="choices">
      <header>With another <code>for</code></header>
      <table className="dense rows">
        <thead><tr><th>for</th><th className="r">fired</th><th className="r">paged</th><th className="wide" /></tr></thead>
        <tbody>{rule.for_choices.map((c) => {
          const own = Math.abs(c.for_seconds - rule.for_seconds) < 1e-3;
          return (
            <tr key={c.for_seconds} className={own ? 'sel' : ''}>
              <td>{onFor && !own ? <button type="button" className="link-button mono" onClick={() => onFor(promDuration(c.for_seconds))}>{promDuration(c.for_seconds)}</button> : <span className="mono">{promDuration(c.for_seconds)}</span>}{own ? <span className="sub"> this rule</span> : null}</td>
              <td className="r num">{count(c.fired)}</td><td className="r num">{count(c.pages)}</td>
              <td className="wide"><div className="minibar" aria-hidden><div style={{ width: `${(c.fired / most) * 100}%` }} /></div></td>
            </tr>
          );
        })}</tbody>
      </table>
    </section>
  );
}

function List({ rule, unit }: { rule: BacktestRule; unit: Unit }) {
  const { zone } = usePreferences();
  const names = telling(rule.episodes);
  // The newest first, those that fired before those that only waited.
  const rows = [...rule.episodes].sort((a, b) => Number(b.fired_at !== null) - Number(a.fired_at !== null) || millis(b.pending_at) - millis(a.pending_at));
  const at = (ns: string | null) => (ns === null ? <span className="sub">—</span> : stamp(millis(ns), zone).slice(5));
  return (
    <section className="panel" data-testid="episodes">
      <header>Alerts <span className="sub">times in {zoneName(zone)}</span></header>
      <div className="sql-result">
        <table className="dense rows">
          <thead><tr><th>state</th>{names.length ? <th>labels</th> : null}<th>fired</th><th className="wide">until</th><th className="r">for</th><th className="r">worst</th><th className="wide">summary</th></tr></thead>
          <tbody>{rows.slice(0, ROWS_MAX).map((e, i) => (
            <tr key={i}>
              <td><Status state={e.fired_at === null ? 'info' : e.page ? 'critical' : 'warning'}>{e.fired_at === null ? 'pending' : e.page ? 'page' : 'fired'}</Status></td>
              {names.length ? <td className="mono labels">{labelText(e.labels, names)}</td> : null}
              <td className="num nowrap">{at(e.fired_at ?? e.pending_at)}</td>
              <td className="num nowrap wide">{e.ended_at === null ? 'goes on' : at(e.ended_at)}</td>
              <td className="r num nowrap">{e.ended_at === null ? 'goes on' : seconds((millis(e.ended_at) - millis(e.fired_at ?? e.pending_at)) / 1000)}</td>
              <td className="r num nowrap">{withUnit(e.peak, unit)}</td>
              <td className="wide">{e.annotations.summary ?? ''}</td>
            </tr>
          ))}</tbody>
        </table>
      </div>
      {rows.length > ROWS_MAX ? <div className="foot">{ROWS_MAX} of {rows.length}</div> : null}
    </section>
  );
}
