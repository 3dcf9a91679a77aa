/** A drill's report: every hop, when it happened, and its evidence. */
import { useParams } from '@tanstack/react-router';
import { useEffect } from 'react';
import { useDrill } from '../api/hooks';
import type { DrillReport } from '../api/types';
import { usePreferences } from '../app/context';
import { Async } from '../components/Async';
import { Link } from '../components/Link';
import { Status } from '../components/Status';
import { seconds } from '../lib/format';
import { clock, millis, stamp, zoneName } from '../lib/time';

export default function DrillPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const drill = useDrill(id);
  useEffect(() => { document.title = 'Drill · Skopos'; }, []);
  return <Async query={drill} skeleton={8}>{(data) => <View drill={data} />}</Async>;
}

function View({ drill }: { drill: DrillReport }) {
  const { zone } = usePreferences();
  return (
    <>
      <div className="page-h">
        <h1>{drill.scenario}</h1>
        <Status state={drill.outcome === 'passed' ? 'ok' : drill.outcome === 'failed' ? 'critical' : 'info'}>{drill.outcome}</Status>
        <span className="sub">started {stamp(millis(drill.started), zone)} {zoneName(zone)}{drill.finished ? `, finished ${clock(millis(drill.finished), zone)}` : ''}</span>
        <span className="sp" />
        {drill.alert ? <Link className="btn" to={`/alerts/${drill.alert}`} data-testid="drill-alert">Alert</Link> : null}
        {drill.runbook ? <Link className="btn" to={`/runbooks/${drill.runbook}`} search={drill.alert ? { alert: drill.alert } : {}}>Runbook</Link> : null}
        {drill.trace_id ? <Link className="btn" to={`/traces/${drill.trace_id}`}>Trace</Link> : null}
      </div>
      <div className="grid tiles">
        {([['Time to detect', drill.time_to_detect_seconds], ['Time to page', drill.time_to_page_seconds], ['Time to mitigate', drill.time_to_mitigate_seconds], ['Time to resolve', drill.time_to_resolve_seconds]] as const).map(([name, value]) => (
          <div key={name} className="panel tile c3"><div className="k">{name}</div><div className="v">{seconds(value)}</div><div className="d">from the injection</div></div>
        ))}
      </div>
      <section className="panel">
        <header>Hops</header>
        <table className="dense rows">
          <thead><tr><th>result</th><th>hop</th><th className="wide">at ({zoneName(zone)})</th><th className="r">took</th><th className="r wide">deadline</th><th className="wide">evidence</th></tr></thead>
          <tbody>{drill.hops.map((h) => (
            <tr key={h.name}>
              <td>{h.ok ? <Status state="ok">done</Status> : h.at === null && drill.outcome === 'running' ? <Status state="info">waiting</Status> : <Status state="critical">missed</Status>}</td>
              <td><strong>{h.title}</strong><div className="narrow-block"><Evidence hop={h} /></div></td>
              <td className="num wide">{h.at ? clock(millis(h.at), zone, true) : '—'}</td>
              <td className="r num">{seconds(h.seconds)}</td>
              <td className="r num wide">{seconds(h.deadline_seconds)}</td>
              <td className="wide"><Evidence hop={h} /></td>
            </tr>
          ))}</tbody>
        </table>
      </section>
    </>
  );
}

function Evidence({ hop }: { hop: DrillReport['hops'][number] }) {
  if (!hop.link) return <>{hop.evidence}</>;
  const [path, query] = hop.link.split('?');
  return <Link to={path!} search={Object.fromEntries(new URLSearchParams(query ?? ''))}>{hop.evidence}</Link>;
}
