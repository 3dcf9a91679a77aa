/** What a service answers when it is asked how it is: startup, liveness and readiness apart. */
import type { Probe } from '../../api/types';
import { usePreferences } from '../../app/context';
import { Status } from '../../components/Status';
import { seconds } from '../../lib/format';
import { clock, millis } from '../../lib/time';

const LOOK = {
  up: { state: 'ok', word: 'passes' },
  down: { state: 'critical', word: 'fails' },
  unknown: { state: 'unknown', word: 'not known yet' },
} as const;

/** A failing startup or readiness probe keeps traffic away; only a failing liveness probe says that it is dead. */
const state = (p: Probe) => (p.state === 'down' && p.probe !== 'liveness' ? 'warning' : LOOK[p.state].state);

export function Probes({ probes }: { probes: Probe[] }) {
  const { zone } = usePreferences();
  return (
    <section className="panel c12">
      <header>Probes <span className="sub">asked as Kubernetes asks its containers</span></header>
      <table className="dense rows" data-testid="probes">
        <thead><tr><th>probe</th><th>state</th><th className="wide">since</th><th className="fill">last answer</th><th className="r wide">took</th><th className="r wide">every</th></tr></thead>
        <tbody>{probes.map((p) => (
          <tr key={p.probe + p.target}>
            <td>{p.probe}</td>
            <td><Status state={state(p)}>{LOOK[p.state].word}</Status></td>
            <td className="num wide">{p.since ? clock(millis(p.since), zone) : '—'}</td>
            <td className="fill"><span className="mono">{p.target}</span> <span className={p.last && !p.last.success ? 't-crit' : 'sub'}>{p.last ? p.last.message : 'not asked yet'}</span>{p.failures > 0 && p.state !== 'down' ? <span className="t-warn"> ▲ {p.failures} of {p.failure_threshold} failures</span> : null}</td>
            <td className="r num wide">{p.last ? seconds(p.last.seconds) : '—'}</td>
            <td className="r num wide">{seconds(p.interval_seconds)}</td>
          </tr>
        ))}</tbody>
      </table>
    </section>
  );
}
