/** Metrics: how does this number behave? */
import { Button } from '@mantine/core';
import { useSearch } from '@tanstack/react-router';
import { lazy, Suspense, useEffect, useMemo, useState } from 'react';
import { CallError } from '../../api/client';
import { useRanged } from '../../api/hooks';
import { useRange, useSetSearch } from '../../app/context';
import { Link } from '../../components/Link';
import { promRange, type PromMatrix } from '../../lib/prom';
import { Browser, type Narrow } from './Browser';
import { Explorer, type ExplorerSearch } from './Explorer';
import { Result } from './Result';

const Editor = lazy(() => import('./Editor'));

type Search = Partial<ExplorerSearch> & Narrow & { expr?: string; mode?: string };

export default function MetricsPage() {
  const search = useSearch({ strict: false }) as Search;
  const set = useSetSearch();
  useEffect(() => { document.title = `${search.metric ?? 'Metrics'} · Skopos`; }, [search.metric]);
  const editing = search.mode === 'promql' || (search.expr !== undefined && !search.metric);
  const explore = (metric: string) => set({ metric, expr: undefined, mode: undefined, by: undefined, agg: undefined, match: undefined, tab: undefined });
  return (
    <>
      <div className="page-h">
        <h1>Metrics</h1>
        <div className="segmented" role="group" aria-label="How to ask">
          <button type="button" aria-pressed={!editing} onClick={() => set({ mode: undefined, expr: undefined })}>Explore</button>
          <button type="button" aria-pressed={editing} onClick={() => set({ mode: 'promql' })}>PromQL</button>
        </div>
        <span className="sp" /><Link className="btn" to="/explore/cardinality">Cardinality</Link>
      </div>
      <div className="metrics-grid">
        <aside className="panel" aria-label="Metric browser">
          <Browser current={search.metric ?? ''} narrow={{ service: search.service, type: search.type, unit: search.unit, owner: search.owner, sort: search.sort }} onNarrow={(next) => set({ ...next }, true)} onPick={explore} />
        </aside>
        <div className="metric-main">
          {editing ? <Asking expr={search.expr ?? ''} tab={search.tab} compareOn={search.cmp !== undefined} />
            : search.metric ? <Explorer search={search as ExplorerSearch} set={(next) => set({ ...next })} onEdit={(expr) => set({ expr, mode: 'promql', tab: undefined })} />
            : <div className="empty-page"><p>Pick a metric: it is shown as its type asks for, and broken down by any of its labels. Or <button type="button" className="link-button" onClick={() => set({ mode: 'promql' })}>write PromQL</button>.</p></div>}
        </div>
      </div>
    </>
  );
}

function Asking({ expr, tab, compareOn }: { expr: string; tab: string | undefined; compareOn: boolean }) {
  const set = useSetSearch();
  const { bounds } = useRange();
  const [text, setText] = useState(expr);
  useEffect(() => setText(expr), [expr]);
  const answer = useRanged<PromMatrix>('/api/v1/query_range', promRange(expr, bounds), expr !== '');
  const run = (value: string) => (value.trim() === expr ? void answer.refetch() : set({ expr: value.trim() || undefined, metric: undefined, mode: 'promql' }));
  // The mark belongs to the query that was run; it goes with the first change.
  const fault = useMemo(() => (answer.error instanceof CallError && answer.error.at && text.trim() === expr ? { ...answer.error.at, message: answer.error.message } : null), [answer.error, text, expr]);
  return (
    <>
      <div className="query-box panel editor">
        <Suspense fallback={<textarea className="input mono" data-query aria-label="PromQL" value={text} onChange={(e) => setText(e.target.value)} />}>
          <Editor value={text} onChange={setText} onRun={() => run(text)} fault={fault} />
        </Suspense>
        <Button size="compact-sm" onClick={() => run(text)}>Run</Button>
      </div>
      {expr ? <Result expr={expr} answer={answer} tab={tab} compareOn={compareOn} set={(next) => set({ ...next })} /> : <div className="empty-page"><p>Write PromQL: names, labels, values and functions are completed as you type; <kbd>Ctrl</kbd> <kbd>↵</kbd> runs.</p></div>}
    </>
  );
}
