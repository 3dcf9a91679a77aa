/** One SLO: budget, burn by window, events spent. */
import { useParams } from '@tanstack/react-router';
import { useEffect } from 'react';
import { useSlo } from '../api/hooks';
import type { SloDetail } from '../api/types';
import { TimeChart } from '../charts/TimeChart';
import { usePreferences } from '../app/context';
import { AlertTable } from '../components/AlertLine';
import { Async } from '../components/Async';
import { Link } from '../components/Link';
import { Budget, SloState } from '../components/SloTable';
import { Status } from '../components/Status';
import { count, percent, seconds, significant } from '../lib/format';
import { millis, stamp, zoneName } from '../lib/time';

export default function SloPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const slo = useSlo(id);
  useEffect(() => { document.title = `${id} · Skopos`; }, [id]);
  return <Async query={slo} skeleton={8}>{(data) => <View slo={data} />}</Async>;
}

function View({ slo }: { slo: SloDetail }) {
  const bad = slo.total - slo.good;
  const { zone } = usePreferences();
  return (
    <>
      <div className="page-h">
        <h1>{slo.title}</h1><SloState slo={slo} />
        <span className="sub">{percent(slo.objective)} over {slo.window} · {slo.indicator.kind} · owner {slo.owner ?? 'nobody'}</span>
        <span className="sp" />
        <Link className="btn" to={`/services/${encodeURIComponent(slo.service)}`}>Service {slo.service}</Link>
        <Link className="btn" to="/explore/metrics" search={{ expr: slo.indicator.bad ?? slo.indicator.total }} data-testid="slo-metric">Metric</Link>
        {slo.runbook ? <Link className="btn" to={`/runbooks/${slo.runbook}`}>Runbook</Link> : null}
      </div>
      {slo.description || slo.impact ? <p className="lead">{slo.description} {slo.impact ? <><strong>Impact:</strong> {slo.impact}</> : null}</p> : null}
      <div className="grid tiles">
        <div className="panel tile c3"><div className="k">Good events now</div><div className="v">{percent(slo.sli)}</div><div className="d">target {percent(slo.objective)}</div></div>
        <div className="panel tile c3"><div className="k">Error budget left</div><div className="v"><Budget remaining={slo.budget_remaining} /></div><div className="d">{count(Math.round(bad))} bad of {count(Math.round(slo.total))} events</div></div>
        <div className="panel tile c3"><div className="k">Burn over 1 h</div><div className={`v ${slo.burn_rate_1h !== null && slo.burn_rate_1h > 1 ? 't-crit' : ''}`}>{slo.burn_rate_1h === null ? '—' : `${significant(slo.burn_rate_1h)}×`}</div><div className="d">1× uses the budget up exactly at the end</div></div>
        <div className="panel tile c3"><div className="k">{slo.exhaustion_seconds !== null && slo.exhaustion_seconds <= 0 ? 'Error budget' : 'Budget gone in'}</div><div className="v">{slo.exhaustion_seconds === null ? 'not burning' : slo.exhaustion_seconds <= 0 ? 'gone' : seconds(slo.exhaustion_seconds)}</div><div className="d">{slo.exhaustion_seconds !== null && slo.exhaustion_seconds <= 0 ? `all of it is spent for these ${slo.window}` : 'at the present burn'}</div></div>
      </div>
      <div className="grid">
        <section className="panel c12">
          <header>Burn by alert window <span className="sub">an alert fires while both windows are above the factor</span></header>
          <table className="dense">
            <thead><tr><th>state</th><th>severity</th><th>long window</th><th className="r">burn</th><th>short window</th><th className="r">burn</th><th className="r">factor</th></tr></thead>
            <tbody>{slo.windows.map((w) => (
              <tr key={w.severity + w.long}><td>{w.firing ? <Status state={w.severity === 'page' ? 'critical' : 'warning'}>above</Status> : <Status state="ok">below</Status>}</td><td>{w.severity}</td><td className="num">{w.long}</td><td className="r num">{w.burn_long === null ? '—' : `${significant(w.burn_long)}×`}</td><td className="num">{w.short}</td><td className="r num">{w.burn_short === null ? '—' : `${significant(w.burn_short)}×`}</td><td className="r num">{significant(w.factor)}×</td></tr>
            ))}</tbody>
          </table>
        </section>
        <div className="c6"><TimeChart title="Burn rate" sub="by window" unit="none" frame={slo.burn} markers={slo.markers} /></div>
        <div className="c6"><TimeChart title="Share of bad events" unit="ratio" frame={slo.error_ratio} markers={slo.markers} threshold={{ value: 1 - slo.objective, name: 'budget' }} actions={<Link to="/explore/metrics" search={{ expr: slo.indicator.bad ?? slo.indicator.total }}>Explore</Link>} /></div>
        <div className="c12"><TimeChart title="Error budget left" unit="ratio" frame={slo.budget} markers={slo.markers} max={1} /></div>
        <section className="panel c12">
          <header>Indicator</header>
          <table className="kvt"><tbody>
            {slo.indicator.good ? <tr><td>good</td><td><Link to="/explore/metrics" search={{ expr: slo.indicator.good }}>{slo.indicator.good}</Link></td></tr> : null}
            {slo.indicator.bad ? <tr><td>bad</td><td><Link to="/explore/metrics" search={{ expr: slo.indicator.bad }}>{slo.indicator.bad}</Link></td></tr> : null}
            <tr><td>total</td><td><Link to="/explore/metrics" search={{ expr: slo.indicator.total }}>{slo.indicator.total}</Link></td></tr>
          </tbody></table>
        </section>
        {slo.left_out.length ? (
          <section className="panel c12">
            <header>Drills <span className="sub">left out of the budget; the windows that alert count them</span></header>
            <table className="dense">
              <thead><tr><th>drill</th><th>from ({zoneName(zone)})</th><th>until</th><th className="r">bad events</th><th className="r">of</th></tr></thead>
              <tbody>{slo.left_out.map((d) => (
                <tr key={d.drill}><td><Link to={`/drills/${d.drill}`}>{d.drill}</Link></td><td className="num">{stamp(millis(d.from), zone)}</td><td className="num">{d.until === null ? 'goes on' : stamp(millis(d.until), zone)}</td><td className="r num">{count(Math.round(d.bad))}</td><td className="r num">{count(Math.round(d.total))}</td></tr>
              ))}</tbody>
            </table>
          </section>
        ) : null}
        {slo.alerts.length ? <section className="panel c12"><header>Alerts of this SLO</header><AlertTable alerts={slo.alerts} now={Date.now()} /></section> : null}
      </div>
    </>
  );
}
