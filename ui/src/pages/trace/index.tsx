/** Trace: where did the time go? */
import { useParams, useSearch } from '@tanstack/react-router';
import { useEffect, useMemo, useState } from 'react';
import { useTrace } from '../../api/hooks';
import type { TraceDetail } from '../../api/types';
import { usePreferences, useSetSearch } from '../../app/context';
import { usePageKeys } from '../../app/keys';
import { Async } from '../../components/Async';
import { Status } from '../../components/Status';
import { nanoseconds } from '../../lib/format';
import { millis, stamp, zoneName } from '../../lib/time';
import { build, visible } from '../../lib/tree';
import { Minimap } from './Minimap';
import { SpanPanel } from './SpanPanel';
import { TraceLogs } from './TraceLogs';
import { Waterfall } from './Waterfall';

export default function TracePage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const trace = useTrace(id);
  useEffect(() => { document.title = `Trace ${id.slice(0, 8)} · Skopos`; }, [id]);
  return <Async query={trace} skeleton={10}>{(data) => <View data={data} />}</Async>;
}

function View({ data }: { data: TraceDetail }) {
  const search = useSearch({ strict: false }) as { sel?: string; tab?: string };
  const set = useSetSearch();
  const { zone } = usePreferences();
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const [filter, setFilter] = useState('');
  const [errorsOnly, setErrorsOnly] = useState(false);
  const tree = useMemo(() => build(data.spans), [data.spans]);
  const critical = useMemo(() => {
    const by = new Map<string, number>();
    for (const s of data.critical_path) by.set(s.span_id, (by.get(s.span_id) ?? 0) + s.duration);
    return by;
  }, [data.critical_path]);
  const largest = useMemo(() => [...critical.entries()].sort((a, b) => b[1] - a[1])[0], [critical]);
  const rows = useMemo(() => {
    const text = filter.trim().toLowerCase();
    const longer = /^>(\d+(?:\.\d+)?)(ms|s|us|µs)$/.exec(text);
    const shown = text || errorsOnly ? tree.nodes : visible(tree.nodes, folded);
    return shown.filter((n) => {
      if (errorsOnly && n.span.status_code !== 'error') return false;
      if (!text) return true;
      if (longer) return n.span.duration > Number(longer[1]) * (longer[2] === 's' ? 1e9 : longer[2] === 'ms' ? 1e6 : 1e3);
      return `${n.span.service_name} ${n.span.name}`.toLowerCase().includes(text) || Object.values(n.span.attributes).some((v) => String(v).toLowerCase().includes(text));
    });
  }, [tree, folded, filter, errorsOnly]);
  const root = tree.nodes[0]?.span;
  // What the caller waited for: spans handed over to a queue may end long after the answer.
  const answered = root?.duration ?? tree.duration;
  const errors = data.spans.filter((s) => s.status_code === 'error').length;
  const services = new Set(data.spans.map((s) => s.service_name)).size;
  const selected = data.spans.find((s) => s.span_id === search.sel) ?? (largest ? data.spans.find((s) => s.span_id === largest[0]) : root);
  const select = (id: string | undefined) => set({ sel: id }, true);
  const fold = (id: string) => setFolded((f) => { const next = new Set(f); if (!next.delete(id)) next.add(id); return next; });
  usePageKeys((key) => {
    const at = rows.findIndex((n) => n.span.span_id === selected?.span_id);
    const to = (i: number) => select(rows[Math.min(rows.length - 1, Math.max(0, i))]?.span.span_id);
    if (key === 'j' || key === 'J' || key === 'ArrowDown') to(at + 1);
    else if (key === 'k' || key === 'K' || key === 'ArrowUp') to(at - 1);
    else if (key === 'e' || key === 'E') select((rows.slice(at + 1).find((n) => n.span.status_code === 'error') ?? rows.find((n) => n.span.status_code === 'error'))?.span.span_id);
    else if ((key === 'ArrowLeft' || key === 'ArrowRight') && selected && folded.has(selected.span_id) === (key === 'ArrowRight')) fold(selected.span_id);
  });
  const tab = search.tab === 'logs' ? 'logs' : 'waterfall';
  const slow = largest ? data.spans.find((s) => s.span_id === largest[0]) : undefined;
  return (
    <div className="col">
      <div className="page-h">
        <h1 className="mono">{data.trace_id.slice(0, 16)}</h1>
        {errors ? <Status state="critical">{errors} {errors === 1 ? 'error' : 'errors'}</Status> : <Status state="ok">no errors</Status>}
        {data.state === 'partial' ? <Status state="warning">partial: spans are missing or still arriving</Status> : null}
        <span className="sub">{root ? `${root.name} · ` : ''}{nanoseconds(tree.duration)} · {data.spans.length} spans · {services} {services === 1 ? 'service' : 'services'} · {root ? `${stamp(millis(root.start), zone)} ${zoneName(zone)}` : ''}</span>
        <span className="sp" />
        <input className="input" style={{ width: 150 }} data-query placeholder="Filter spans, >50ms  /" aria-label="Filter spans" value={filter} onChange={(e) => setFilter(e.target.value)} />
        <button type="button" className="chip" aria-pressed={errorsOnly} onClick={() => setErrorsOnly(!errorsOnly)}>errors only</button>
        <div className="tabs" role="tablist">
          <button type="button" role="tab" aria-selected={tab === 'waterfall'} onClick={() => set({ tab: undefined })}>Waterfall</button>
          <button type="button" role="tab" aria-selected={tab === 'logs'} onClick={() => set({ tab: 'logs' })}>Logs {data.log_count}</button>
        </div>
      </div>
      {slow && largest && tree.duration > 0 ? (
        <div className="banner info">
          <strong>Critical path</strong>
          <span>{Math.round((largest[1] / Math.max(1, answered)) * 100)}% of {nanoseconds(answered)} is <button type="button" className="link-button mono" onClick={() => select(slow.span_id)}>{slow.name}</button> in {slow.service_name}{slow.status_code === 'error' ? ', which failed' : ''}.{tree.duration > answered * 1.05 ? ` Work handed over went on until ${nanoseconds(tree.duration)}.` : ''}</span>
        </div>
      ) : null}
      {tab === 'logs' ? <TraceLogs id={data.trace_id} /> : (
        <div className="trace-grid">
          <section className="panel trace-panel" aria-label="Spans">
            <header>Spans <span className="sub">underline = critical path · J/K move · E next error · ←/→ fold</span></header>
            <Minimap nodes={tree.nodes} duration={tree.duration} />
            <Waterfall rows={rows} duration={tree.duration} critical={critical} folded={folded} selected={selected?.span_id} onSelect={select} onFold={fold} />
          </section>
          {selected ? <SpanPanel span={selected} start={tree.start} logCount={data.log_count} onLogs={() => set({ tab: 'logs' })} /> : null}
        </div>
      )}
    </div>
  );
}
