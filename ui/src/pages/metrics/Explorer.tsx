/** A metric looked at without writing a query: the right one by its type, broken down by any label, against another week. */
import { Button } from '@mantine/core';
import { useMemo } from 'react';
import { keepPreviousData, useQueries } from '@tanstack/react-query';
import { get, path } from '../../api/client';
import { useMetric } from '../../api/hooks';
import type { MetricDetail, SeriesFrame } from '../../api/types';
import { TimeChart } from '../../charts/TimeChart';
import { useRange, useTick } from '../../app/context';
import { Async, ErrorBox } from '../../components/Async';
import { Cost } from '../../components/Cost';
import { Link } from '../../components/Link';
import { withUnit } from '../../lib/format';
import { build, matchers, withMatcher, windowFor, type Built } from '../../lib/metrics';
import { matrixFrame, promRange, stepFor, type PromMatrix } from '../../lib/prom';
import { Explain } from './Explain';
import { useExemplars, useSurroundings } from './context';

export interface ExplorerSearch { metric: string; service?: string; by?: string; agg?: string; match?: string; cmp?: string; tab?: string }
const BACK: Record<string, { ms: number; name: string }> = { '1d': { ms: 86_400_000, name: 'a day before' }, '1w': { ms: 604_800_000, name: 'a week before' } };

export function Explorer({ search, set, onEdit }: { search: ExplorerSearch; set: (next: Partial<ExplorerSearch>) => void; onEdit: (expr: string) => void }) {
  const metric = useMetric(search.metric, search.service);
  return <Async query={metric} skeleton={8}>{(data) => <View metric={data} search={search} set={set} onEdit={onEdit} />}</Async>;
}

/** The queries as one frame, at the range or `back` before it. */
function useFrames(built: Built, back: number, enabled: boolean) {
  const { bounds } = useRange();
  const tick = useTick();
  const shifted = useMemo(() => ({ from: bounds.from - back, to: bounds.to - back }), [bounds.from, bounds.to, back]);
  const results = useQueries({
    queries: built.queries.map(({ expr }) => {
      const url = path('/api/v1/query_range', promRange(expr, shifted));
      return { queryKey: [url, tick], queryFn: ({ signal }: { signal: AbortSignal }) => get<PromMatrix>(url, signal), placeholderData: keepPreviousData, enabled };
    }),
  });
  const answers = results.map((r) => r.data);
  const ready = answers.every((a) => a !== undefined);
  const frame = useMemo<SeriesFrame | null>(() => {
    if (!ready) return null;
    const frames = answers.map((a, i) => ({ ...matrixFrame(a!, shifted), name: built.queries[i]!.name }));
    const here = matrixFrame({ status: '', data: { resultType: 'matrix', result: [] } }, { from: shifted.from + back, to: shifted.to + back });
    return { start: here.start, step: here.step, series: frames.flatMap((f) => f.series.map((s) => ({ ...s, name: f.name }))) };
    // The answers are new objects only when something was fetched.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [ready, shifted, back, ...answers]);
  return { frame, error: results.find((r) => r.isError)?.error, stats: answers[0]?.data.stats, fetching: results.some((r) => r.isFetching), retry: () => results.forEach((r) => void r.refetch()) };
}

function View({ metric, search, set, onEdit }: { metric: MetricDetail; search: ExplorerSearch; set: (next: Partial<ExplorerSearch>) => void; onEdit: (expr: string) => void }) {
  const { bounds } = useRange();
  const step = stepFor(bounds);
  // A service chosen in the browser narrows the query as well, by the label the series tell it with.
  const match = useMemo(() => {
    const of = search.service ? metric.labels.find((l) => ['service', 'service_name', 'job'].includes(l.name) && l.values.some(([v]) => v === search.service || v.endsWith(`/${search.service!}`))) : undefined;
    const value = of?.values.find(([v]) => v === search.service || v.endsWith(`/${search.service!}`))?.[0];
    return of && value !== undefined && !matchers(search.match).some((m) => m.startsWith(`${of.name}=`)) ? withMatcher(search.match, of.name, value) : search.match;
  }, [metric.labels, search.service, search.match]);
  const built = useMemo(() => build(metric, { by: search.by, agg: search.agg, match }, windowFor(step)), [metric, search.by, search.agg, match, step]);
  const back = search.cmp ? BACK[search.cmp] : undefined;
  const now = useFrames(built, 0, true);
  const before = useFrames(built, back?.ms ?? 0, back !== undefined);
  const main = built.queries[built.queries.length - 1]!.expr;
  const { points, open } = useExemplars(main);
  const service = search.service ?? (metric.services.length === 1 ? metric.services[0] : undefined);
  const { markers, bands } = useSurroundings(service);
  const compare = useMemo(() => (back && before.frame ? { frame: before.frame, name: back.name } : undefined), [back, before.frame]);
  const labels = metric.labels.filter((l) => l.name !== 'le' && l.name !== 'quantile');
  const chosen = labels.find((l) => l.name === search.by);
  return (
    <>
      <section className="panel metric-head">
        <header>
          <span className="mono">{metric.name}</span><span className="chip static">{metric.native ? 'native histogram' : metric.type}</span>{metric.unit ? <span className="chip static">{metric.unit}</span> : null}
          <span className="sub">{metric.series} series</span><span className="sp" />
          {metric.services.slice(0, 3).map((s) => <Link key={s} to={`/services/${encodeURIComponent(s)}`}>{s}</Link>)}
          {metric.owners.length ? <span className="sub">owner {metric.owners.join(', ')}</span> : null}
        </header>
        <p className="inset sub">{metric.help || 'The sender gives no description.'}</p>
        <div className="metric-controls">
          <label>Show <select className="input select" value={built.agg} onChange={(e) => set({ agg: e.target.value })}>{built.choices.map((c) => <option key={c}>{c}</option>)}</select></label>
          <label>by <select className="input select" value={search.by ?? ''} onChange={(e) => set({ by: e.target.value || undefined })} data-testid="by"><option value="">nothing</option>{labels.map((l) => <option key={l.name} value={l.name}>{l.name} ({l.distinct})</option>)}</select></label>
          <label>against <select className="input select" value={search.cmp ?? ''} onChange={(e) => set({ cmp: e.target.value || undefined })} data-testid="cmp"><option value="">nothing</option>{Object.entries(BACK).map(([k, v]) => <option key={k} value={k}>{v.name}</option>)}</select></label>
          {matchers(search.match).map((m) => <button key={m} type="button" className="chip mono" title="Remove this filter" onClick={() => set({ match: matchers(search.match).filter((o) => o !== m).join(',') || undefined })}>{m} ×</button>)}
        </div>
      </section>
      <div className="query-line panel"><code className="mono" data-testid="built">{built.queries.length > 1 ? main : built.queries[0]!.expr}</code><Button size="compact-xs" variant="default" onClick={() => onEdit(main)}>Edit as PromQL</Button></div>
      {now.error ? <ErrorBox error={now.error} onRetry={now.retry} /> : null}
      {now.frame ? (
        <div className={now.fetching ? 'busy' : undefined}>
          {now.fetching ? <div className="progress" aria-hidden /> : null}
          <TimeChart title={built.title} sub={`step ${step} s`} unit={built.unit} frame={now.frame} height={280} shades={built.shades} points={points} onPoint={open} markers={markers} bands={bands} {...(compare ? { compare } : {})}
            actions={<>{points[0] ? <button type="button" className="link-button" data-testid="exemplar" onClick={() => open(points[0]!)}>Newest exemplar trace</button> : null} <button type="button" className="link-button" aria-pressed={search.tab === 'explain'} onClick={() => set({ tab: search.tab === 'explain' ? undefined : 'explain' })}>Explain</button></>} />
        </div>
      ) : now.error ? null : <div aria-busy="true" className="skeletons"><div className="skeleton" style={{ height: 280 }} /></div>}
      {back && before.frame && before.frame.series.length === 0 ? <div className="foot">Nothing was stored {back.name}.</div> : null}
      <div className="foot">{now.stats ? <Cost stats={now.stats} /> : null}</div>
      {search.tab === 'explain' ? <Explain expr={main} step={step} /> : null}
      <div className="grid">
        <section className={`panel ${chosen ? 'c4' : 'c12'}`} data-testid="labels">
          <header>Break down by <span className="sub">what tells series apart comes first</span></header>
          <table className="dense rows"><thead><tr><th>label</th><th className="r">values</th><th className="wide">most series</th></tr></thead><tbody>
            {labels.map((l) => (
              <tr key={l.name} className={l.name === search.by ? 'sel' : ''}>
                <td><button type="button" className="link-button mono" aria-pressed={l.name === search.by} onClick={() => set({ by: l.name === search.by ? undefined : l.name })}>{l.name}</button></td>
                <td className="r num">{l.distinct}</td>
                <td className="wide sub mono cut">{l.values.slice(0, chosen ? 2 : 5).map(([v]) => v || '(empty)').join(', ')}</td>
              </tr>
            ))}
          </tbody></table>
        </section>
        {chosen ? <Values label={chosen} frame={now.frame} before={compare?.frame ?? null} unit={built.unit} onPick={(value, exclude) => set({ match: withMatcher(search.match, chosen.name, value, exclude) })} /> : null}
      </div>
    </>
  );
}

const latest = (values: (number | null)[] | undefined): number | null => {
  for (let i = (values?.length ?? 0) - 1; i >= 0; i--) if (values![i] !== null) return values![i]!;
  return null;
};

function Values({ label, frame, before, unit, onPick }: { label: MetricDetail['labels'][number]; frame: SeriesFrame | null; before: SeriesFrame | null; unit: Built['unit']; onPick: (value: string, exclude: boolean) => void }) {
  const of = (f: SeriesFrame | null, value: string) => latest(f?.series.find((s) => (s.labels[label.name] ?? '') === value)?.values);
  const rows = label.values.map(([value, series]) => ({ value, series, now: of(frame, value), then: of(before, value) })).sort((a, b) => (b.now ?? -Infinity) - (a.now ?? -Infinity));
  const change = (now: number | null, then: number | null) => (now === null || then === null || then === 0 ? '—' : `${now >= then ? '+' : '−'}${Math.abs((now / then - 1) * 100).toFixed(0)}%`);
  return (
    <section className="panel c8" data-testid="values">
      <header><span className="mono">{label.name}</span> <span className="sub">{label.distinct > label.values.length ? `${label.values.length} of ${label.distinct} values` : `${label.distinct} values`}</span></header>
      <table className="dense rows">
        <thead><tr><th>value</th><th className="r">series</th><th className="r">latest</th>{before ? <th className="r">change</th> : null}<th /></tr></thead>
        <tbody>{rows.map((r) => (
          <tr key={r.value}>
            <td className="mono expr">{r.value || '(empty)'}</td><td className="r num">{r.series}</td><td className="r num">{withUnit(r.now, unit)}</td>{before ? <td className="r num">{change(r.now, r.then)}</td> : null}
            <td className="r nowrap"><button type="button" className="link-button" onClick={() => onPick(r.value, false)}>only this</button> · <button type="button" className="link-button" onClick={() => onPick(r.value, true)}>exclude</button></td>
          </tr>
        ))}</tbody>
      </table>
    </section>
  );
}
