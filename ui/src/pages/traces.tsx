/** Traces: which requests are slow or failing? */
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect } from 'react';
import { useTraces } from '../api/hooks';
import type { TraceSummary } from '../api/types';
import { usePreferences, useRange, useSetSearch } from '../app/context';
import { usePageKeys } from '../app/keys';
import { Async } from '../components/Async';
import { Cost } from '../components/Cost';
import { Link } from '../components/Link';
import { QueryBox } from '../components/QueryBox';
import { count, nanoseconds } from '../lib/format';
import { terms, withTerm, withoutTerm } from '../lib/filter';
import { millis, rangeText, stamp, zoneName } from '../lib/time';

const PRESETS: [string, string, string][] = [['errors', 'status', 'error'], ['over 500 ms', 'dur', '>500ms'], ['roots only', 'root', 'true']];

export default function TracesPage() {
  const search = useSearch({ strict: false }) as { q?: string; sel?: string };
  const q = search.q ?? '';
  const set = useSetSearch();
  const navigate = useNavigate();
  const { bounds } = useRange();
  const { zone } = usePreferences();
  const traces = useTraces(q);
  useEffect(() => { document.title = 'Traces · Skopos'; }, []);
  const rows = traces.data?.traces ?? [];
  usePageKeys((key) => {
    const at = rows.findIndex((t) => t.trace_id === search.sel);
    if (key === 'j' || key === 'J') set({ sel: rows[Math.min(rows.length - 1, at + 1)]?.trace_id }, true);
    else if (key === 'k' || key === 'K') set({ sel: rows[Math.max(0, at - 1)]?.trace_id }, true);
    else if (key === 'Enter' && at >= 0) void navigate({ to: `/traces/${search.sel}` as never, search: ((p: Record<string, unknown>) => ({ env: p.env, from: p.from, to: p.to })) as never });
  });
  const slowest = Math.max(1, ...rows.map((t) => t.duration));
  return (
    <>
      <div className="page-h">
        <h1>Traces</h1>
        <QueryBox value={q} onRun={(value) => set({ q: value || undefined, sel: undefined })} placeholder="service:orders-api status:error dur:>500ms" error={traces.error} busy={traces.isFetching} />
      </div>
      <div className="chips">
        {PRESETS.map(([name, field, value]) => {
          const term = `${field}:${value}`;
          const on = terms(q).includes(term);
          return <button key={term} type="button" className="chip" aria-pressed={on} onClick={() => set({ q: (on ? withoutTerm(q, term) : value.startsWith('>') ? [...terms(q), term].join(' ') : withTerm(q, field, value)) || undefined })}>{name}</button>;
        })}
      </div>
      <section className="panel">
        <header>{rows.length} traces <span className="sub">{rangeText(bounds.from, bounds.to, zone)} {zoneName(zone)} · newest first · <Cost stats={traces.data?.stats} /></span></header>
        <Async query={traces} skeleton={8}>
          {(data) => data.traces.length === 0 ? <Empty q={q} onPick={(value) => set({ q: value || undefined })} /> : (
            <table className="dense rows">
              <thead><tr><th>start ({zoneName(zone)})</th><th>root</th><th className="r">duration</th><th className="wide" /><th className="r wide">spans</th><th className="r">errors</th><th className="wide">services</th></tr></thead>
              <tbody>{data.traces.map((t) => <Row key={t.trace_id} t={t} selected={t.trace_id === search.sel} slowest={slowest} />)}</tbody>
            </table>
          )}
        </Async>
      </section>
    </>
  );
}

function Row({ t, selected, slowest }: { t: TraceSummary; selected: boolean; slowest: number }) {
  const { zone } = usePreferences();
  const sel = t.matched_spans[0];
  const [date, time] = stamp(millis(t.start), zone).split(' ');
  return (
    <tr className={selected ? 'sel' : undefined}>
      <td className="mono nowrap" title={stamp(millis(t.start), zone)}><span className="wide">{date} </span>{time}</td>
      <td className="fill"><Link to={`/traces/${t.trace_id}`} search={sel ? { sel } : {}}><strong>{t.root_service || '(still arriving)'}</strong> {t.root_name}</Link></td>
      <td className="r num">{nanoseconds(t.duration)}</td>
      <td className="wide"><div className="minibar"><div style={{ width: `${Math.max(1, (t.duration / slowest) * 100)}%` }} /></div></td>
      <td className="r num wide">{count(t.spans)}</td>
      <td className={`r num ${t.errors ? 't-crit' : ''}`}>{t.errors ? `✕ ${t.errors}` : '0'}</td>
      <td className="wide sub">{Object.entries(t.services).map(([s, n]) => `${s} ${n}`).join(', ')}</td>
    </tr>
  );
}

function Empty({ q, onPick }: { q: string; onPick: (q: string) => void }) {
  const all = terms(q);
  if (all.length) return <div className="empty">0 traces match. {all.map((t) => <button key={t} type="button" className="chip" onClick={() => onPick(withoutTerm(q, t))}>without {t}</button>)}</div>;
  return (
    <div className="empty-page">
      <p><strong>No spans in this range.</strong> Point an OpenTelemetry SDK here:</p>
      <pre className="code">{`OTEL_SERVICE_NAME=my-service\nOTEL_EXPORTER_OTLP_ENDPOINT=${window.location.protocol}//${window.location.hostname}:4318`}</pre>
    </div>
  );
}
