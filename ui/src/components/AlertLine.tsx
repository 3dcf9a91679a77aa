/** An alert in a list: state, name, service, since when, who was told, runbook. */
import type { Alert } from '../api/types';
import { usePreferences } from '../app/context';
import { ago, clock, millis, stamp, zoneName } from '../lib/time';
import { Link } from './Link';
import { severityState, Status } from './Status';

export function AlertLine({ alert, now }: { alert: Alert; now: number }) {
  const { zone } = usePreferences();
  const since = millis(alert.resolved_at ?? alert.fired_at ?? alert.active_at);
  const told = alert.notifications.filter((n) => n.status === 'delivered').map((n) => n.receiver);
  const failed = alert.notifications.some((n) => n.status === 'failed');
  return (
    <tr>
      <td><Status state={severityState(alert.severity, alert.state)}>{alert.state === 'firing' ? alert.severity || 'firing' : alert.state}</Status></td>
      <td>
        <Link to={`/alerts/${alert.fingerprint}`}><strong>{alert.name}</strong></Link>
        {alert.drill ? <span className="chip static">drill</span> : null}
        <div className="sub">{alert.annotations.summary ?? alert.expr}</div>
      </td>
      <td>{alert.service ? <Link to={`/services/${encodeURIComponent(alert.service)}`}>{alert.service}</Link> : <span className="sub">—</span>}</td>
      <td className="num" title={`${stamp(since, zone)} ${zoneName(zone)}`}>{clock(since, zone)} <span className="sub">{ago(since, now)}</span></td>
      <td className="wide">{told.length ? [...new Set(told)].join(', ') : failed ? <span className="t-crit">✕ not delivered</span> : <span className="sub">nobody yet</span>}</td>
      <td>{alert.runbook ? <Link to={`/runbooks/${alert.runbook.id}`} search={{ alert: alert.fingerprint }}>{alert.runbook.title}</Link> : <span className="t-warn">▲ none</span>}</td>
    </tr>
  );
}

export function AlertTable({ alerts, now }: { alerts: Alert[]; now: number }) {
  return (
    <table className="dense rows">
      <thead><tr><th>state</th><th>alert</th><th>service</th><th>since</th><th className="wide">told</th><th>runbook</th></tr></thead>
      <tbody>{alerts.map((a) => <AlertLine key={a.fingerprint} alert={a} now={now} />)}</tbody>
    </table>
  );
}
