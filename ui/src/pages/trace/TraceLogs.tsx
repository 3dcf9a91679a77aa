/** The log lines that carry the trace's id, oldest first. */
import { useState } from 'react';
import { useRunbooks, useTraceLogs } from '../../api/hooks';
import { Async } from '../../components/Async';
import { Cost } from '../../components/Cost';
import { Link } from '../../components/Link';
import { Drawer } from '../logs/Drawer';
import { Lines } from '../logs/Lines';
import { useNavigate } from '@tanstack/react-router';

export function TraceLogs({ id }: { id: string }) {
  const logs = useTraceLogs(id, true);
  const runbooks = useRunbooks();
  const [selected, setSelected] = useState<string>();
  const navigate = useNavigate();
  return (
    <section className="panel logs-panel" aria-label="Logs of this trace" style={{ flex: 1 }}>
      <Async query={logs}>
        {(data) => {
          const services = new Set(data.rows.map((r) => r.service_name));
          const related = (runbooks.data?.runbooks ?? []).filter((r) => r.service && services.has(r.service));
          const row = data.rows.find((r) => r.id === selected);
          return (
            <div className="logs-panel trace-logs">
              <header>
                {data.rows.length} lines <span className="sub">oldest first · <Cost stats={data.stats} /></span>
                <span className="sp" />
                <Link className="btn" to="/logs" search={{ q: `trace_id:${id}` }}>Open in Logs</Link>
                {related.map((r) => <Link key={r.id} className="btn" to={`/runbooks/${r.id}`} data-testid="runbook-link">Runbook: {r.title}</Link>)}
              </header>
              {data.rows.length ? <Lines rows={data.rows} selected={selected} onSelect={(r) => setSelected(r.id)} /> : <div className="empty">No log line carries this trace id. Log inside the request's span, or add trace_id to the lines.</div>}
              {row ? <Drawer row={row} q="" onClose={() => setSelected(undefined)} onFilter={(q) => void navigate({ to: '/logs' as never, search: ((p: Record<string, unknown>) => ({ env: p.env, from: p.from, to: p.to, q })) as never })} /> : null}
            </div>
          );
        }}
      </Async>
    </section>
  );
}
