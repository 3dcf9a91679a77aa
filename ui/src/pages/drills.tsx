/** Drills: does the loop close? */
import { Button } from '@mantine/core';
import { useEffect } from 'react';
import { startDrill, useChange, useDrills } from '../api/hooks';
import type { DrillSummary } from '../api/types';
import { CallError } from '../api/client';
import { usePreferences } from '../app/context';
import { Async, ErrorBox } from '../components/Async';
import { Link } from '../components/Link';
import { SignIn } from '../components/SignIn';
import { Status } from '../components/Status';
import { seconds } from '../lib/format';
import { millis, stamp, zoneName } from '../lib/time';

const SCENARIOS = ['orders-error-10pct', 'orders-slow-db'];

export default function DrillsPage() {
  const drills = useDrills();
  const { zone } = usePreferences();
  const start = useChange<string, DrillSummary>(startDrill);
  useEffect(() => { document.title = 'Drills · Skopos'; }, []);
  const denied = start.error instanceof CallError && start.error.status === 401;
  const running = drills.data?.drills.some((d) => d.outcome === 'running') ?? false;
  return (
    <>
      <div className="page-h">
        <h1>Drills</h1>
        <span className="sub">a failure is injected, and every hop from detection to resolution is timed</span>
        <span className="sp" />
        {SCENARIOS.map((s) => <Button key={s} size="compact-sm" variant="default" disabled={running} loading={start.isPending && start.variables === s} onClick={() => start.mutate(s)}>Run {s}</Button>)}
      </div>
      {denied ? <section className="panel group"><SignIn onDone={() => start.reset()} /></section> : start.isError ? <ErrorBox error={start.error} /> : null}
      <section className="panel">
        <Async query={drills} skeleton={3}>
          {(data) => data.drills.length ? (
            <table className="dense rows">
              <thead><tr><th>outcome</th><th>scenario</th><th>started ({zoneName(zone)})</th><th className="r">to detect</th><th className="r">to page</th><th className="r">to mitigate</th><th className="r">to resolve</th></tr></thead>
              <tbody>{data.drills.map((d) => (
                <tr key={d.id}>
                  <td><Status state={d.outcome === 'passed' ? 'ok' : d.outcome === 'failed' ? 'critical' : 'info'}>{d.outcome}</Status></td>
                  <td><Link to={`/drills/${d.id}`}><strong>{d.scenario}</strong></Link></td>
                  <td className="num">{stamp(millis(d.started), zone)}</td>
                  <td className="r num">{seconds(d.time_to_detect_seconds)}</td><td className="r num">{seconds(d.time_to_page_seconds)}</td><td className="r num">{seconds(d.time_to_mitigate_seconds)}</td><td className="r num">{seconds(d.time_to_resolve_seconds)}</td>
                </tr>
              ))}</tbody>
            </table>
          ) : <div className="empty">No drill has been run yet.</div>}
        </Async>
      </section>
    </>
  );
}
