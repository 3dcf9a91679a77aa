/** SQL over everything. */
import { Button } from '@mantine/core';
import { useSearch } from '@tanstack/react-router';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { sql } from '../api/hooks';
import { useSetSearch } from '../app/context';
import { Async } from '../components/Async';
import { Cost } from '../components/Cost';
import { show } from '../lib/text';

const EXAMPLES: [string, string][] = [
  ['Lines by service and level', 'SELECT service_name, severity_text, count(*) AS lines\nFROM logs\nGROUP BY 1, 2 ORDER BY lines DESC'],
  ['Slowest spans', "SELECT service_name, name, duration_ns / 1e6 AS ms, trace_id\nFROM spans ORDER BY duration_ns DESC LIMIT 20"],
  ['Errors with their log lines', "SELECT s.service_name, s.name, l.body\nFROM spans s JOIN logs l ON l.trace_id = s.trace_id\nWHERE s.status_code = 'error' LIMIT 50"],
  ['Series by metric', 'SELECT metric_name, count(*) AS series FROM series GROUP BY 1 ORDER BY 2 DESC LIMIT 50'],
  ['Tables', 'SHOW TABLES'],
];

export default function SqlPage() {
  const search = useSearch({ strict: false }) as { query?: string };
  const set = useSetSearch();
  const [text, setText] = useState(search.query ?? EXAMPLES[0]![1]);
  const result = useQuery({ queryKey: ['sql', search.query], queryFn: () => sql(search.query!), enabled: Boolean(search.query), retry: false });
  useEffect(() => { document.title = 'SQL · Skopos'; }, []);
  useEffect(() => { if (search.query) setText(search.query); }, [search.query]);
  const run = () => { if (text.trim() === search.query) void result.refetch(); else set({ query: text.trim() || undefined }); };
  return (
    <>
      <div className="page-h"><h1>SQL</h1><span className="sub">tables logs, spans, samples, series; read only</span><span className="sp" />{EXAMPLES.map(([name, query]) => <button key={name} type="button" className="chip" onClick={() => setText(query)}>{name}</button>)}</div>
      <section className="panel group">
        <textarea className="input mono sql" data-query aria-label="SQL query" spellCheck={false} rows={6} value={text} onChange={(e) => setText(e.target.value)} onKeyDown={(e) => { if ((e.metaKey || e.ctrlKey) && e.key === 'Enter') { e.preventDefault(); run(); } }} />
        <div className="sql-run"><Button size="compact-sm" onClick={run} loading={result.isFetching}>Run</Button><span className="sub">⌘/Ctrl ↵ · <Cost stats={result.data?.stats} /></span></div>
      </section>
      {search.query ? (
        <section className="panel">
          <Async query={result}>
            {(data) => (
              <div className="sql-result">
                <table className="dense rows">
                  <thead><tr>{data.columns.map((c, i) => <th key={c.name} title={c.type} className={data.rows.length > 0 && data.rows.every((row) => row[i] === null || typeof row[i] === 'number') ? 'r' : undefined}>{c.name}</th>)}</tr></thead>
                  <tbody>{data.rows.slice(0, 1000).map((row, i) => <tr key={i}>{row.map((v, j) => <td key={j} className={typeof v === 'number' ? 'num r' : 'mono'}>{v === null ? <span className="sub">null</span> : show(v).slice(0, 500)}</td>)}</tr>)}</tbody>
                </table>
                {data.rows.length === 0 ? <div className="empty">No rows.</div> : <div className="foot">{data.rows.length > 1000 ? `first 1,000 of ${data.rows.length} rows` : `${data.rows.length} rows`}</div>}
              </div>
            )}
          </Async>
        </section>
      ) : null}
    </>
  );
}
