import type { SloSummary } from '../api/types';
import { percent, significant } from '../lib/format';
import { Link } from './Link';
import { Status } from './Status';

const LOOK: Record<SloSummary['state'], { state: 'ok' | 'warning' | 'critical' | 'unknown' | 'info'; word: string }> = {
  ok: { state: 'ok', word: 'in budget' },
  burning: { state: 'critical', word: 'burning budget' },
  exhausted: { state: 'critical', word: 'budget gone' },
  no_data: { state: 'unknown', word: 'no data' },
  provisional: { state: 'info', word: 'provisional' },
  invalid: { state: 'warning', word: 'invalid' },
};

export function SloState({ slo }: { slo: SloSummary }) {
  const look = LOOK[slo.state];
  return <Status state={look.state}>{look.word}</Status>;
}

/** What is left of a budget, as bar and number. A budget that is overspent fills the bar with what it lacks. */
export function Budget({ remaining }: { remaining: number | null }) {
  if (remaining === null) return <span className="sub">—</span>;
  if (remaining <= 0) {
    const spent = remaining === 0 ? 'All of the error budget is spent' : `${significant(1 - remaining)} times the error budget is spent`;
    return (
      <span className="budget" title={spent}>
        <span className="budget-bar over" aria-hidden="true"><span /></span>
        <span className="num t-crit">✕ {remaining === 0 ? 'spent' : `overspent ${percent(-remaining)}`}</span>
      </span>
    );
  }
  const share = Math.min(1, remaining);
  return (
    <span className="budget" title={`${percent(remaining)} of the error budget is left`}>
      <span className="budget-bar" aria-hidden="true"><span style={{ width: `${share * 100}%`, background: remaining < 0.25 ? 'var(--warn)' : 'var(--ok)' }} /></span>
      <span className="num">{percent(remaining)}</span>
    </span>
  );
}

export function SloTable({ slos }: { slos: SloSummary[] }) {
  return (
    <table className="dense rows">
      <thead><tr><th>state</th><th>objective</th><th className="wide">service</th><th className="r wide">target</th><th className="r">now</th><th>budget left</th><th className="r wide">burn 1 h</th><th className="wide">owner</th></tr></thead>
      <tbody>
        {slos.map((s) => (
          <tr key={s.id}>
            <td><SloState slo={s} /></td>
            <td><Link to={`/slos/${encodeURIComponent(s.id)}`}><strong>{s.title}</strong></Link></td>
            <td className="wide"><Link to={`/services/${encodeURIComponent(s.service)}`}>{s.service}</Link></td>
            <td className="r num wide">{percent(s.objective)} <span className="sub">{s.window}</span></td>
            <td className="r num">{percent(s.sli)}</td>
            <td><Budget remaining={s.budget_remaining} /></td>
            <td className={`r num wide ${s.burn_rate_1h !== null && s.burn_rate_1h > 1 ? 't-crit' : ''}`}>{s.burn_rate_1h === null ? '—' : `${significant(s.burn_rate_1h)}×`}</td>
            <td className="wide">{s.owner ?? <span className="t-warn">▲ nobody</span>}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
