/** Logs: what did the code say? */
import { Button } from '@mantine/core';
import { useSearch } from '@tanstack/react-router';
import { useEffect, useMemo, useState } from 'react';
import { useLogFacets, useLogHistogram, useLogs } from '../../api/hooks';
import { merged, useTail } from '../../api/tail';
import type { LogRow } from '../../api/types';
import { usePageKeys } from '../../app/keys';
import { usePreferences, useRange, useSetSearch } from '../../app/context';
import { Async, ErrorBox } from '../../components/Async';
import { QueryBox } from '../../components/QueryBox';
import { Cost } from '../../components/Cost';
import { count } from '../../lib/format';
import { terms, withoutTerm } from '../../lib/filter';
import { rangeText, zoneName } from '../../lib/time';
import { Drawer } from './Drawer';
import { Facets } from './Facets';
import { Histogram } from './Histogram';
import { Lines } from './Lines';

export default function LogsPage() {
  const search = useSearch({ strict: false }) as { q?: string; sel?: string; live?: 1 };
  const q = search.q ?? '';
  const set = useSetSearch();
  const { bounds } = useRange();
  const { zone } = usePreferences();
  const logs = useLogs(q);
  const histogram = useLogHistogram(q);
  const facets = useLogFacets(q);
  const [facetsOpen, setFacetsOpen] = useState(false);
  const tail = useTail(q, search.live === 1);
  const rows = useMemo(() => merged(tail.rows, logs.data?.rows ?? []), [tail.rows, logs.data]);
  const total = useMemo(() => histogram.data?.series.reduce((n, [, counts]) => n + counts.reduce((a, b) => a + b, 0), 0) ?? 0, [histogram.data]);
  const selected = rows.find((r) => r.id === search.sel);
  const select = (row: LogRow | undefined) => set({ sel: row?.id }, true);
  usePageKeys((key) => {
    const at = rows.findIndex((r) => r.id === search.sel);
    if (key === 'j' || key === 'J' || key === 'ArrowDown') select(rows[Math.min(rows.length - 1, at + 1)]);
    else if (key === 'k' || key === 'K' || key === 'ArrowUp') select(rows[Math.max(0, at - 1)]);
    else if (key === 'e' || key === 'E') select(rows.slice(at + 1).find((r) => r.severity_number >= 17));
    else if (key === 'Escape') select(undefined);
  });
  useEffect(() => { document.title = 'Logs · Skopos'; }, []);
  return (
    <div className="col">
      <div className="page-h">
        <h1>Logs</h1>
        <QueryBox value={q} onRun={(value) => set({ q: value || undefined, sel: undefined })} placeholder='service:orders-api level:error "free text"' error={logs.error} busy={logs.isFetching} />
        <Button size="compact-sm" variant="default" aria-pressed={search.live === 1} onClick={() => set({ live: search.live === 1 ? undefined : 1, to: undefined })}>{search.live === 1 ? 'Stop tail' : 'Live tail'}</Button>
        <Button size="compact-sm" variant="default" className="narrow-only" aria-expanded={facetsOpen} onClick={() => setFacetsOpen(!facetsOpen)}>Fields</Button>
      </div>
      <div className="logs-grid">
        <aside className={`panel facet ${facetsOpen ? 'open' : ''}`} aria-label="Fields">
          <Async query={facets} skeleton={6}>{(data) => <Facets data={data} q={q} onChange={(value) => set({ q: value || undefined, sel: undefined })} />}</Async>
        </aside>
        <section className="panel logs-panel" aria-label="Lines">
          <header>
            <span className="num">{count(total)}</span> lines
            <span className="sub">{rangeText(bounds.from, bounds.to, zone)} {zoneName(zone)} · <Cost stats={logs.data?.stats} /></span>
            {tail.skipped > 0 ? <span className="sub" role="status">{count(tail.skipped)} lines came too fast and were skipped</span> : null}
          </header>
          {histogram.data ? <Histogram data={histogram.data} /> : <div className="hist" />}
          {logs.isError && !logs.data ? <ErrorBox error={logs.error} onRetry={() => void logs.refetch()} /> : null}
          {logs.data && rows.length === 0 ? <NoMatch q={q} onPick={(value) => set({ q: value || undefined })} /> : null}
          <Lines rows={rows} selected={search.sel} onSelect={select} />
          {selected ? <Drawer row={selected} q={q} onClose={() => select(undefined)} onFilter={(value) => set({ q: value || undefined })} /> : null}
        </section>
      </div>
    </div>
  );
}

/** The narrowest fix: each term that could be left away, as a button. */
function NoMatch({ q, onPick }: { q: string; onPick: (q: string) => void }) {
  const all = terms(q);
  if (all.length === 0) {
    return (
      <div className="empty-page">
        <p><strong>No log lines in this range.</strong> Send some: any OpenTelemetry SDK, or JSON lines.</p>
        <pre className="code">{`echo '{"level":"info","service":"hello","message":"it works"}' | curl --data-binary @- ${window.location.origin}/v1/logs/json\nskopos agent --server ${window.location.origin} --service my-service /var/log/my-service/*.log`}</pre>
        <p className="sub">Keys that every line should have: timestamp, level, service, environment, trace_id, request_id, user_id, message.</p>
      </div>
    );
  }
  return (
    <div className="empty">
      0 lines match.{' '}
      {all.map((t) => <Button key={t} size="compact-xs" variant="default" onClick={() => onPick(withoutTerm(q, t))}>without {t}</Button>)}
    </div>
  );
}
