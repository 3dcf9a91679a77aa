/** What one span says, and where it leads. */
import { Fragment, useMemo } from 'react';
import type { SpanRow } from '../../api/types';
import { usePreferences } from '../../app/context';
import { Link } from '../../components/Link';
import { nanoseconds } from '../../lib/format';
import { quote } from '../../lib/filter';
import { plain, show } from '../../lib/text';
import { clock, millis } from '../../lib/time';
import { useRunbooks } from '../../api/hooks';

export function SpanPanel({ span, start, logCount, onLogs }: { span: SpanRow; start: bigint; logCount: number; onLogs: () => void }) {
  const { zone } = usePreferences();
  const runbooks = useRunbooks();
  const runbook = runbooks.data?.runbooks.find((r) => r.service === span.service_name);
  const rows = useMemo<[string, string][]>(() => [
    ['service', span.service_name],
    ['kind', span.kind],
    ['duration', nanoseconds(span.duration)],
    ['start', `+${nanoseconds(Number(BigInt(span.start) - start))}`],
    ...Object.entries(span.attributes).sort(([a], [b]) => a.localeCompare(b)).map(([k, v]): [string, string] => [k, show(v)]),
  ], [span, start]);
  return (
    <aside className="panel span-panel" aria-label="Selected span">
      <header className="mono">{plain(span.name, 200)}</header>
      {span.status_code === 'error' ? <div className="span-error">✕ {span.status_message || 'failed'}</div> : null}
      <table className="kvt"><tbody>{rows.map(([k, v]) => <tr key={k}><td><Key name={k} /></td><td>{plain(v, 4000)}</td></tr>)}</tbody></table>
      {span.events.length ? (
        <>
          <h3>Events</h3>
          <table className="kvt"><tbody>
            {span.events.map((e, i) => (
              <tr key={i}><td>{clock(millis(e.time_unix_nano), zone, true)}</td><td><strong>{e.name}</strong> {Object.entries(e.attributes ?? {}).map(([k, v]) => <div key={k}>{k}={plain(show(v), 2000)}</div>)}</td></tr>
            ))}
          </tbody></table>
        </>
      ) : null}
      {span.links.length ? (
        <>
          <h3>Links</h3>
          <ul className="plain">{span.links.map((l, i) => <li key={i}><Link to={`/traces/${l.trace_id}`} search={{ sel: l.span_id }}>{l.trace_id.slice(0, 16)}</Link></li>)}</ul>
        </>
      ) : null}
      <h3>Resource</h3>
      <table className="kvt"><tbody>{Object.entries(span.resource).map(([k, v]) => <tr key={k}><td><Key name={k} /></td><td>{plain(show(v), 1000)}</td></tr>)}</tbody></table>
      <div className="span-actions">
        <button type="button" className="btn primary" onClick={onLogs} data-testid="trace-logs">{logCount} log {logCount === 1 ? 'line' : 'lines'} of this trace</button>
        <Link className="btn" to={`/services/${encodeURIComponent(span.service_name)}`}>Service {span.service_name}</Link>
        <Link className="btn" to="/traces" search={{ q: `service:${quote(span.service_name)} name:${quote(span.name)}` }}>Traces of this operation</Link>
        {runbook ? <Link className="btn" to={`/runbooks/${runbook.id}`}>Runbook: {runbook.title}</Link> : null}
      </div>
    </aside>
  );
}

/** A dotted name breaks after its dots and underscores. */
function Key({ name }: { name: string }) {
  return <>{name.split(/(?<=[._])/).map((part, i) => <Fragment key={i}>{i ? <wbr /> : null}{part}</Fragment>)}</>;
}
