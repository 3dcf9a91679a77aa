/** A runbook and its steps, run from here: verify reads, mitigate and roll back act after a typed confirmation. */
import { Button } from '@mantine/core';
import { useParams, useSearch } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';
import { CallError } from '../../api/client';
import { startRun, useAlert, useChange, useRun, useRunbook } from '../../api/hooks';
import type { Run, RunbookDetail, StepResult } from '../../api/types';
import { usePreferences, useSetSearch } from '../../app/context';
import { Async, ErrorBox } from '../../components/Async';
import { Link } from '../../components/Link';
import { SignIn } from '../../components/SignIn';
import { severityState, Status } from '../../components/Status';
import { seconds } from '../../lib/format';
import { parts } from '../../lib/runbook';
import { clock, millis, stamp, zoneName } from '../../lib/time';
import { Step } from './Step';

export default function RunbookPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const search = useSearch({ strict: false }) as { alert?: string; run?: string };
  const runbook = useRunbook(id, search.alert);
  useEffect(() => { document.title = `${runbook.data?.title ?? id} · Skopos`; }, [id, runbook.data?.title]);
  return <Async query={runbook} skeleton={8}>{(data) => <View runbook={data} alert={search.alert} runId={search.run ?? data.runs.find((r) => r.state === 'open' && r.alert === (search.alert ?? null))?.id ?? null} />}</Async>;
}

function View({ runbook, alert, runId }: { runbook: RunbookDetail; alert: string | undefined; runId: string | null }) {
  const set = useSetSearch();
  const run = useRun(runId);
  const begin = useChange<void, Run>(() => startRun(runbook.id, alert));
  const denied = begin.error instanceof CallError && begin.error.status === 401;
  // Steps ask for the key where they stand; the button in the timeline asks up here.
  const [asked, setAsked] = useState(false);
  const start = async (): Promise<string> => {
    if (runId) return runId;
    const created = await begin.mutateAsync();
    set({ run: created.id }, true);
    return created.id;
  };
  const results = run.data?.results ?? [];
  const latest = new Map<string, StepResult>();
  for (const r of results) latest.set(r.step, r);
  const suggested = run.data?.suggested ?? null;
  const byId = new Map(runbook.steps.map((s) => [s.id, s]));
  return (
    <>
      <div className="page-h">
        <h1>{runbook.title}</h1>
        {runbook.stale ? <Status state="warning">reviewed {runbook.reviewed}: stale</Status> : <span className="sub">reviewed {runbook.reviewed}</span>}
        <span className="sub">{[runbook.severity, runbook.owner ? `owner ${runbook.owner}` : null].filter(Boolean).join(' · ')}</span>
        <span className="sp" />
        {runbook.service ? <Link className="btn" to={`/services/${encodeURIComponent(runbook.service)}`}>Service {runbook.service}</Link> : null}
        {runbook.slo ? <Link className="btn" to={`/slos/${encodeURIComponent(runbook.slo)}`}>SLO</Link> : null}
      </div>
      {alert ? <AlertBanner fingerprint={alert} /> : null}
      {begin.isError && !denied ? <ErrorBox error={begin.error} /> : null}
      {asked && denied ? <SignIn onDone={() => { begin.reset(); start().catch(() => {}); }} /> : null}
      <div className="runbook-grid">
        <div>
          {runbook.sections.map((section) => (
            <section key={section.title} className="panel group runbook-section">
              <header>{section.title}</header>
              {parts(section).map((part, i) => {
                if (typeof part === 'string') return <Prose key={i} html={part} />;
                const step = byId.get(part.step);
                return step ? <Step key={part.step} step={step} result={latest.get(part.step)} start={() => { setAsked(false); return start(); }} suggested={suggested === part.step} /> : null;
              })}
            </section>
          ))}
        </div>
        <aside>
          <section className="panel group">
            <header>Timeline <span className="sub">{run.data ? `run ${run.data.id.slice(0, 8)} by ${run.data.actor}` : 'no run is open'}</span><span className="sp" />{runId ? null : <Button size="compact-xs" variant="default" loading={begin.isPending} onClick={() => { setAsked(true); start().catch(() => {}); }}>Start a run</Button>}</header>
            <Timeline results={results} />
          </section>
          {runbook.runs.length ? (
            <section className="panel group">
              <header>Earlier runs</header>
              <Runs runbook={runbook} onPick={(id) => set({ run: id })} />
            </section>
          ) : null}
          <section className="panel group"><header>Alerts</header><ul className="plain">{runbook.alerts.map((a) => <li key={a}>{a}</li>)}</ul></section>
        </aside>
      </div>
    </>
  );
}

/** The server has sanitised this HTML: only text structure and links, no scripts, no styles, no handlers. */
function Prose({ html }: { html: string }) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => { if (host.current) host.current.innerHTML = html; }, [html]);
  return <div className="prose" ref={host} />;
}

function AlertBanner({ fingerprint }: { fingerprint: string }) {
  const alert = useAlert(fingerprint);
  const { zone } = usePreferences();
  if (!alert.data) return null;
  const a = alert.data;
  return (
    <div className={`banner ${a.state === 'firing' ? '' : 'info'}`}>
      <Status state={severityState(a.severity, a.state)}>{a.state}</Status>
      <span><strong>{a.name}.</strong> {a.annotations.summary ?? ''} <span className="sub">since {clock(millis(a.fired_at ?? a.active_at), zone)} {zoneName(zone)}</span></span>
      <span className="act"><Link className="btn" to={`/alerts/${a.fingerprint}`}>Alert</Link></span>
    </div>
  );
}

function Timeline({ results }: { results: StepResult[] }) {
  const { zone } = usePreferences();
  if (!results.length) return <div className="empty">Results of steps appear here and stay on record.</div>;
  return (
    <table className="dense"><tbody>{[...results].reverse().map((r, i) => (
      <tr key={i}>
        <td className="num">{clock(millis(r.at), zone)}</td>
        <td><strong>{r.step}</strong> <span className="sub">{r.phase} · {r.auto ? 'by itself' : r.actor} · {seconds(r.duration_ms / 1000)}</span><div>{r.message}</div></td>
        <td><Verdict result={r} /></td>
      </tr>
    ))}</tbody></table>
  );
}

export function Verdict({ result }: { result: StepResult }) {
  switch (result.verdict) {
    case 'true': return <Status state="ok">true</Status>;
    case 'done': return <Status state="ok">done</Status>;
    case 'false': return <Status state="info">false</Status>;
    case 'dry_run': return <Status state="info">dry run</Status>;
    case 'failed': return <Status state="critical">failed</Status>;
    default: return <Status state="unknown">unknown</Status>;
  }
}

function Runs({ runbook, onPick }: { runbook: RunbookDetail; onPick: (id: string) => void }) {
  const { zone } = usePreferences();
  return (
    <table className="dense"><tbody>{runbook.runs.slice(0, 10).map((r) => (
      <tr key={r.id}><td className="num"><button type="button" className="link-button" onClick={() => onPick(r.id)}>{stamp(millis(r.started), zone)}</button></td><td>{r.actor}</td><td className="sub">{r.state}, {r.steps_done} steps</td></tr>
    ))}</tbody></table>
  );
}
