/** One alert: condition, value, impact, who was told, and the way on: SLO, metric, trace, logs, runbook. */
import { useParams } from '@tanstack/react-router';
import { useEffect } from 'react';
import { CallError } from '../api/client';
import { useAlert, useRanged, useRules } from '../api/hooks';
import type { AlertDetail } from '../api/types';
import { TimeChart } from '../charts/TimeChart';
import { useRange, usePreferences } from '../app/context';
import { Async } from '../components/Async';
import { Link } from '../components/Link';
import { severityState, Status } from '../components/Status';
import { quote } from '../lib/filter';
import { significant } from '../lib/format';
import { ago, clock, millis, stamp, zoneName } from '../lib/time';
import { matrixFrame, promRange, type PromMatrix } from '../lib/prom';
import { fromRule, sides, toSearch } from '../lib/rules';

export default function AlertPage() {
  const { fingerprint } = useParams({ strict: false }) as { fingerprint: string };
  const alert = useAlert(fingerprint);
  if (alert.error instanceof CallError && alert.error.status === 404 && alert.data === undefined) return <Gone />;
  return <Async query={alert} skeleton={6}>{(data) => <View alert={data} />}</Async>;
}

/** A link in an old message leads here: say what has become of the alert, and the way on. */
function Gone() {
  useEffect(() => { document.title = 'Alert · Skopos'; }, []);
  return (
    <>
      <div className="page-h"><h1>Alert</h1><Status state="ok">not active</Status></div>
      <section className="panel gone">
        <p><strong>This alert is not active any more.</strong> Resolved alerts are shown for 15 minutes; what happened meanwhile is on the pages of its service, its SLO and its runbook.</p>
        <div className="path">
          <Link className="btn" to="/alerts">Alerts</Link><Link className="btn" to="/slos">SLOs</Link><Link className="btn" to="/services">Services</Link><Link className="btn" to="/drills">Drills</Link>
        </div>
      </section>
    </>
  );
}

/** What happened to the alert has a state of its own: a delivery is no failure. */
function historyState(severity: string, state: string): ReturnType<typeof severityState> {
  if (state === 'delivered') return 'ok';
  if (state === 'failed') return 'critical';
  if (state === 'step') return 'info';
  return severityState(severity as AlertDetail['severity'], state as AlertDetail['state']);
}

function View({ alert }: { alert: AlertDetail }) {
  const { zone } = usePreferences();
  useEffect(() => { document.title = `${alert.name} · Skopos`; }, [alert.name]);
  const now = Date.now();
  const began = millis(alert.fired_at ?? alert.active_at);
  const at = (ns: string) => `${stamp(millis(ns), zone)} ${zoneName(zone)}`;
  return (
    <>
      <div className="page-h">
        <h1>{alert.name}</h1>
        <Status state={severityState(alert.severity, alert.state)}>{alert.state}</Status>
        {alert.drill ? <span className="chip static">drill</span> : null}
        <span className="sub">{[alert.severity, alert.service, alert.owner ? `owner ${alert.owner}` : null].filter(Boolean).join(' · ')} · since {clock(began, zone)} {zoneName(zone)}, {ago(began, now)}</span>
      </div>
      <div className={`banner ${alert.state === 'firing' ? '' : 'info'}`}>
        <strong className={alert.state === 'firing' ? 't-crit' : ''}>{alert.state === 'firing' ? '✕ Firing' : alert.state === 'pending' ? '● Pending' : '✓ Resolved'}</strong>
        <span><strong>{alert.annotations.summary ?? alert.name}</strong>{alert.annotations.description ? ` ${alert.annotations.description}` : ''}{alert.impact ? <div>Impact: {alert.impact}</div> : null}</span>
        <span className="act">
          {alert.runbook ? <Link className="btn primary" to={`/runbooks/${alert.runbook.id}`} search={{ alert: alert.fingerprint }} data-testid="runbook-link">Runbook: {alert.runbook.title}</Link> : <span className="t-warn">▲ no runbook</span>}
        </span>
      </div>
      <nav className="path" aria-label="Investigate">
        {alert.slo ? <Link className="btn" to={`/slos/${encodeURIComponent(alert.slo)}`} data-testid="slo-link">SLO</Link> : null}
        <Link className="btn" to="/explore/metrics" search={{ expr: alert.expr }} data-testid="metric-link">Metric</Link>
        {alert.exemplar_trace ? <Link className="btn" to={`/traces/${alert.exemplar_trace}`} data-testid="trace-link">A failing trace</Link> : null}
        {alert.service ? <Link className="btn" to="/logs" search={{ q: `service:${quote(alert.service)} level:error` }} data-testid="logs-link">Error logs</Link> : null}
        {alert.service ? <Link className="btn" to={`/services/${encodeURIComponent(alert.service)}`}>Service {alert.service}</Link> : null}
      </nav>
      <div className="grid">
        <section className="panel c8">
          <header>Condition <span className="sub">{alert.rule.group} · {alert.rule.file}</span><span className="sp" /><EditCopy alert={alert} /></header>
          <pre className="code inset">{alert.expr.trim()}</pre>
          <table className="kvt"><tbody>
            <tr><td>value</td><td>{alert.value === null ? '—' : significant(alert.value)}</td></tr>
            <tr><td>pending since</td><td>{at(alert.active_at)}</td></tr>
            {alert.fired_at ? <tr><td>firing since</td><td>{at(alert.fired_at)}</td></tr> : null}
            {alert.resolved_at ? <tr><td>resolved</td><td>{at(alert.resolved_at)}</td></tr> : null}
            {Object.entries(alert.labels).filter(([k]) => k !== 'alertname').map(([k, v]) => <tr key={k}><td>{k}</td><td>{v}</td></tr>)}
          </tbody></table>
          {alert.contract.length ? <p className="t-warn inset">▲ The page contract misses: {alert.contract.join(', ')}</p> : null}
        </section>
        <section className="panel c4">
          <header>Who was told</header>
          {alert.notifications.length ? (
            <table className="dense"><tbody>{alert.notifications.map((n, i) => (
              <tr key={i}><td><Status state={n.status === 'delivered' ? 'ok' : n.status === 'failed' ? 'critical' : 'info'}>{n.status}</Status></td><td>{n.receiver} <span className="sub">{n.channel}</span>{n.error ? <div className="t-crit">{n.error}</div> : null}</td><td className="num">{clock(millis(n.at), zone)}</td></tr>
            ))}</tbody></table>
          ) : <div className="empty">Nobody yet. Routes and receivers stand in the configuration.</div>}
        </section>
        <div className="c12"><Chart expr={alert.expr} /></div>
        <section className="panel c12">
          <header>History</header>
          <table className="dense"><tbody>{alert.history.map((h, i) => (
            <tr key={i}><td className="num">{at(h.time)}</td><td><Status state={historyState(alert.severity, h.state)}>{h.state}</Status></td><td className="fill">{h.text ?? ''}{h.value === null ? '' : <span className="sub num"> value {significant(h.value)}</span>}</td></tr>
          ))}</tbody></table>
        </section>
      </div>
    </>
  );
}

/** The rule behind the alert, to be changed and tried on the past. */
function EditCopy({ alert }: { alert: AlertDetail }) {
  const rules = useRules();
  const group = rules.data?.groups.find((g) => g.name === alert.rule.group && g.file === alert.rule.file);
  const rule = group?.rules.find((r) => r.name === alert.rule.name && r.expr === alert.expr.trim()) ?? group?.rules.find((r) => r.name === alert.rule.name);
  return <Link to="/rules/edit" search={rule ? toSearch(fromRule(rule, group!.interval_seconds)) : { name: alert.name, expr: alert.expr }} data-testid="edit-copy">Edit a copy</Link>;
}

function Chart({ expr }: { expr: string }) {
  const { bounds } = useRange();
  const split = sides(expr);
  const query = useRanged<PromMatrix>('/api/v1/query_range', promRange(split?.left ?? expr, bounds));
  return (
    <Async query={query}>
      {(data) => <TimeChart title={split ? 'Value against the threshold' : 'Value while the condition holds'} unit="none" frame={matrixFrame(data, bounds)} {...(split ? { threshold: { value: split.threshold, name: `fires ${split.low ? 'below' : split.op.startsWith('>') ? 'above' : split.op}` } } : {})} actions={<Link to="/explore/metrics" search={{ expr }}>Explore</Link>} />}
    </Async>
  );
}
