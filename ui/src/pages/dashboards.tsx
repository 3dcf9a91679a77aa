/** Dashboards: those of files, stored ones, and those that make themselves; Grafana's are dropped here. */
import { Button } from '@mantine/core';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';
import { CallError } from '../api/client';
import { importDashboard, useChange, useDashboards } from '../api/hooks';
import type { DashboardImport, DashboardLine } from '../api/types';
import { usePreferences, useSetSearch } from '../app/context';
import { Async, ErrorBox } from '../components/Async';
import { Link } from '../components/Link';
import { SignIn } from '../components/SignIn';
import { Status } from '../components/Status';
import { millis, stamp } from '../lib/time';

const SOURCE: Record<DashboardLine['source'], string> = { file: 'file', stored: 'stored', 'built-in': 'by itself' };

export default function DashboardsPage() {
  const search = useSearch({ strict: false }) as { q?: string };
  const set = useSetSearch();
  const dashboards = useDashboards();
  const { zone } = usePreferences();
  const [file, setFile] = useState<{ name: string; text: string } | null>(null);
  const [over, setOver] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => { document.title = 'Dashboards · Skopos'; }, []);
  const take = (list: FileList | null) => {
    const first = list?.[0];
    if (first) void first.text().then((text) => setFile({ name: first.name, text }));
  };
  const wanted = (search.q ?? '').toLowerCase();
  const fits = (d: DashboardLine) => [d.title, d.name, d.description, ...d.tags].some((t) => t.toLowerCase().includes(wanted));
  return (
    <div className={`drop-page ${over ? 'over' : ''}`} onDragOver={(e) => { e.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={(e) => { e.preventDefault(); setOver(false); take(e.dataTransfer.files); }}>
      <div className="page-h">
        <h1>Dashboards</h1>
        <input className="input" style={{ maxWidth: 260 }} data-query aria-label="Filter by title" placeholder="Filter by title or tag" defaultValue={search.q ?? ''} onChange={(e) => set({ q: e.target.value || undefined }, true)} />
        <span className="sp" />
        <input ref={input} type="file" accept=".json,application/json" hidden aria-label="Grafana dashboard" onChange={(e) => { take(e.target.files); e.target.value = ''; }} />
        <Button size="compact-sm" variant="default" onClick={() => input.current?.click()}>Import from Grafana…</Button>
      </div>
      {file ? <Import key={file.name + file.text.length} file={file} onClose={() => setFile(null)} /> : null}
      <section className="panel">
        <Async query={dashboards} skeleton={6}>
          {(data) => (data.dashboards.length ? (
            <table className="dense rows">
              <thead><tr><th>dashboard</th><th>from</th><th className="r">panels</th><th className="wide">tags</th><th className="wide">changed</th></tr></thead>
              <tbody>{data.dashboards.filter(fits).map((d) => (
                <tr key={d.name}>
                  <td><Link to={`/dashboards/${d.name}`}><strong>{d.title}</strong></Link><div className="sub">{d.description}</div></td>
                  <td title={d.file ?? undefined}>{SOURCE[d.source]}</td><td className="r num">{d.panels}</td><td className="wide sub">{d.tags.join(', ')}</td><td className="wide num">{d.updated ? stamp(millis(d.updated), zone) : '—'}</td>
                </tr>
              ))}</tbody>
            </table>
          ) : (
            <div className="empty-page">
              <p><strong>No dashboard yet.</strong> Overview, Dependencies, Release, Regions, Journeys and Business make themselves as soon as their data is there.</p>
              <p>Your own come from files: <code>dashboard_files: [&quot;dashboards/*.yaml&quot;]</code>. Or drop a dashboard of Grafana here.</p>
            </div>
          ))}
        </Async>
      </section>
      <p className="foot">A JSON file of Grafana can be dropped anywhere on this page.</p>
    </div>
  );
}

const OUTCOME = { converted: 'ok', approximated: 'warning', unsupported: 'critical' } as const;

function Import({ file, onClose }: { file: { name: string; text: string }; onClose: () => void }) {
  const navigate = useNavigate();
  const translate = useChange((save: boolean) => importDashboard(file.text, save));
  const { mutate } = translate;
  useEffect(() => mutate(false), [mutate]);
  const save = () => translate.mutate(true, { onSuccess: (done) => void navigate({ to: `/dashboards/${done.name}` as never, search: {} as never }) });
  const failed = translate.error;
  // The report stays while it is being stored.
  const [report, setReport] = useState<DashboardImport | null>(null);
  useEffect(() => { if (translate.data) setReport(translate.data); }, [translate.data]);
  return (
    <section className="panel group" data-testid="import-report">
      <header>{file.name} {report ? <span className="sub">{report.report.converted} panels converted, {report.report.approximated} approximated, {report.report.unsupported} unsupported</span> : null}<span className="sp" />
        {report ? <Button size="compact-sm" loading={translate.isPending} onClick={save}>Store as {report.name}</Button> : null}<button type="button" className="link-button" onClick={onClose}>Close</button>
      </header>
      {failed instanceof CallError && failed.status === 401 ? <SignIn onDone={() => (report ? save() : mutate(false))} /> : failed ? <ErrorBox error={failed} /> : null}
      {report ? (
        <>
          {report.report.notes.map((n) => <div key={n} className="foot">▲ {n}</div>)}
          <table className="dense rows"><tbody>{report.report.entries.map((e, i) => (
            <tr key={i}><td><Status state={OUTCOME[e.outcome]}>{e.outcome}</Status></td><td>{e.part} <strong>{e.name || '(no title)'}</strong> <span className="sub">{e.type}</span>{e.notes.map((n) => <div key={n} className="sub">{n}</div>)}</td></tr>
          ))}</tbody></table>
        </>
      ) : null}
    </section>
  );
}
