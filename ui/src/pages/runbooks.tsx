/** Runbooks: what do I do? And which paging alerts have none. */
import { useSearch } from '@tanstack/react-router';
import { useEffect } from 'react';
import { useRunbooks } from '../api/hooks';
import { useSetSearch } from '../app/context';
import { Async } from '../components/Async';
import { Link } from '../components/Link';
import { Status } from '../components/Status';

export default function RunbooksPage() {
  const search = useSearch({ strict: false }) as { q?: string };
  const set = useSetSearch();
  const runbooks = useRunbooks(search.q);
  useEffect(() => { document.title = 'Runbooks · Skopos'; }, []);
  return (
    <>
      <div className="page-h">
        <h1>Runbooks</h1>
        <input className="input" style={{ maxWidth: 320 }} data-query aria-label="Search runbooks" placeholder="Search: alert, symptom, words" defaultValue={search.q ?? ''} onChange={(e) => set({ q: e.target.value || undefined }, true)} />
      </div>
      <Async query={runbooks} skeleton={5}>
        {(data) => (
          <>
            {data.missing.length ? (
              <section className="panel group">
                <header><span className="t-warn">▲ Paging alerts without a runbook</span></header>
                <table className="dense"><tbody>{data.missing.map((m) => <tr key={m.alert}><td>{m.alert}</td><td>{m.severity}</td></tr>)}</tbody></table>
              </section>
            ) : null}
            <section className="panel">
              {data.runbooks.length ? (
                <table className="dense rows">
                  <thead><tr><th>runbook</th><th>service</th><th>alerts</th><th>owner</th><th>reviewed</th></tr></thead>
                  <tbody>{data.runbooks.map((r) => (
                    <tr key={r.id}>
                      <td><Link to={`/runbooks/${r.id}`}><strong>{r.title}</strong></Link></td>
                      <td>{r.service ? <Link to={`/services/${encodeURIComponent(r.service)}`}>{r.service}</Link> : '—'}</td>
                      <td>{r.alerts.join(', ')}</td>
                      <td>{r.owner ?? <span className="t-warn">▲ nobody</span>}</td>
                      <td className="num">{r.reviewed} {r.stale ? <Status state="warning">stale</Status> : null}</td>
                    </tr>
                  ))}</tbody>
                </table>
              ) : <div className="empty">{search.q ? 'No runbook matches.' : 'No runbook is stored. Markdown files go under runbook_files in the configuration.'}</div>}
            </section>
          </>
        )}
      </Async>
    </>
  );
}
