/** Metrics: how does this number behave? */
import { Button } from '@mantine/core';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { lazy, Suspense, useCallback, useEffect, useMemo, useState } from 'react';
import { useRanged } from '../../api/hooks';
import { CallError } from '../../api/client';
import { TimeChart, type ChartPoint } from '../../charts/TimeChart';
import { usePreferences, useRange, useSetSearch } from '../../app/context';
import { Async, ErrorBox } from '../../components/Async';
import { Cost } from '../../components/Cost';
import { unitOf, withUnit } from '../../lib/format';
import { matrixFrame, promRange, stepFor, type PromMatrix } from '../../lib/prom';
import { rangeText, zoneName } from '../../lib/time';
import { Browser } from './Browser';

const Editor = lazy(() => import('./Editor'));

interface Exemplars { data: { seriesLabels: Record<string, string>; exemplars: { labels: Record<string, string>; value: string; timestamp: number }[] }[] }

export default function MetricsPage() {
  const search = useSearch({ strict: false }) as { expr?: string; tab?: string };
  const set = useSetSearch();
  const expr = search.expr ?? '';
  const [text, setText] = useState(expr);
  useEffect(() => setText(expr), [expr]);
  useEffect(() => { document.title = 'Metrics · Skopos'; }, []);
  const run = (value: string) => set({ expr: value.trim() || undefined });
  return (
    <>
      <div className="page-h"><h1>Metrics</h1></div>
      <div className="metrics-grid">
        <aside className="panel" aria-label="Metric browser"><Browser onPick={run} current={expr} /></aside>
        <div>
          <div className="query-box panel editor">
            <Suspense fallback={<textarea className="input mono" data-query aria-label="PromQL" value={text} onChange={(e) => setText(e.target.value)} />}>
              <Editor value={text} onChange={setText} onRun={() => run(text)} />
            </Suspense>
            <Button size="compact-sm" onClick={() => run(text)}>Run</Button>
          </div>
          {expr ? <Result expr={expr} table={search.tab === 'table'} onTab={(t) => set({ tab: t })} /> : <div className="empty-page"><p>Pick a metric on the left, or write PromQL.</p></div>}
        </div>
      </div>
    </>
  );
}

function Result({ expr, table, onTab }: { expr: string; table: boolean; onTab: (tab: string | undefined) => void }) {
  const { bounds } = useRange();
  const { zone } = usePreferences();
  const navigate = useNavigate();
  const range = promRange(expr, bounds);
  const answer = useRanged<PromMatrix>('/api/v1/query_range', range);
  const exemplars = useRanged<Exemplars>('/api/v1/query_exemplars', { query: expr, start: range.start, end: range.end });
  const unit = unitOf(expr);
  const points = useMemo<ChartPoint[]>(() => (exemplars.data?.data ?? []).flatMap((s) => s.exemplars).filter((e) => e.labels.trace_id).slice(0, 300).map((e) => ({ time: e.timestamp * 1000, value: Number(e.value), label: e.labels.trace_id! })), [exemplars.data]);
  const open = useCallback((p: ChartPoint) => void navigate({ to: `/traces/${p.label}` as never, search: ((s: Record<string, unknown>) => ({ env: s.env, from: s.from, to: s.to })) as never }), [navigate]);
  const at = answer.error instanceof CallError ? answer.error.at : undefined;
  if (answer.isError && !answer.isPlaceholderData) {
    return (
      <div>
        {at ? <pre className="code">{expr}{'\n'}{' '.repeat(at.start)}{'~'.repeat(Math.max(1, at.end - at.start))}</pre> : null}
        <ErrorBox error={answer.error} onRetry={() => void answer.refetch()} />
      </div>
    );
  }
  const first = points[0];
  return (
    <Async query={answer} skeleton={8}>
      {(data) => {
        const frame = matrixFrame(data, bounds);
        const latencyPoints = unit === 'seconds' ? points : [];
        return (
          <>
            {[...(data.warnings ?? []), ...(data.infos ?? [])].map((w) => <div key={w} className="strip">▲ {w}</div>)}
            <TimeChart title={expr.length > 80 ? `${expr.slice(0, 80)}…` : expr} sub={`${data.data.result.length} series, step ${stepFor(bounds)} s`} unit={unit} frame={frame} height={280} points={latencyPoints} onPoint={open}
              actions={<>{first ? <button type="button" className="link-button" data-testid="exemplar" onClick={() => open(first)}>Exemplar trace</button> : null} <button type="button" className="link-button" onClick={() => onTab(table ? undefined : 'table')}>{table ? 'Hide values' : 'Latest values'}</button></>} />
            <div className="foot">{rangeText(bounds.from, bounds.to, zone)} {zoneName(zone)} · <Cost stats={data.data.stats} /></div>
            {table ? (
              <section className="panel">
                <table className="dense rows"><thead><tr><th>series</th><th className="r">latest</th></tr></thead><tbody>
                  {data.data.result.slice(0, 500).map((r, i) => <tr key={i}><td className="mono">{Object.entries(r.metric).map(([k, v]) => (k === '__name__' ? v : `${k}=${v}`)).join(' ')}</td><td className="r num">{withUnit(Number(r.values?.[r.values.length - 1]?.[1] ?? NaN), unit)}</td></tr>)}
                </tbody></table>
              </section>
            ) : null}
          </>
        );
      }}
    </Async>
  );
}
