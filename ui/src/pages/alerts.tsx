/** Alerts: what needs me now? */
import { useSearch } from '@tanstack/react-router';
import { useEffect } from 'react';
import { useAlerts, useRules } from '../api/hooks';
import { usePreferences, useSetSearch } from '../app/context';
import { AlertTable } from '../components/AlertLine';
import { Async } from '../components/Async';
import { Link } from '../components/Link';
import { Status } from '../components/Status';
import { seconds } from '../lib/format';
import { fromRule, toSearch } from '../lib/rules';
import { ago, clock, millis, zoneName } from '../lib/time';

const TABS = [['firing', 'Firing'], ['resolved', 'Resolved'], ['rules', 'Rules']] as const;

export default function AlertsPage() {
  const search = useSearch({ strict: false }) as { tab?: string };
  const set = useSetSearch();
  const alerts = useAlerts();
  const { zone } = usePreferences();
  const tab = search.tab ?? 'firing';
  const now = Date.now();
  useEffect(() => { document.title = 'Alerts · Skopos'; }, []);
  const last = alerts.data?.last_evaluation;
  return (
    <>
      <div className="page-h">
        <h1>Alerts</h1>
        <div className="tabs" role="tablist">
          {TABS.map(([id, name]) => <button key={id} type="button" role="tab" aria-selected={tab === id} onClick={() => set({ tab: id === 'firing' ? undefined : id })}>{name}</button>)}
        </div>
        <span className="sub">{last ? `last evaluation ${clock(millis(last), zone)} ${zoneName(zone)}, ${ago(millis(last), now)}` : 'no rule has been evaluated yet'}{alerts.data && alerts.data.lag_seconds > 60 ? <span className="t-warn"> ▲ evaluation lags {seconds(alerts.data.lag_seconds)}</span> : null}</span>
        <span className="sp" /><Link className="btn" to="/rules/edit" data-testid="new-rule">New rule</Link>
      </div>
      {tab === 'rules' ? <Rules /> : (
        <section className="panel">
          <Async query={alerts} skeleton={4}>
            {(data) => {
              const rows = data.alerts.filter((a) => (tab === 'resolved') === (a.state === 'resolved'));
              return rows.length ? <AlertTable alerts={rows} now={now} /> : <div className="empty">{tab === 'resolved' ? 'Nothing was resolved recently.' : `Nothing is firing${last ? `; last evaluation ${ago(millis(last), now)}` : ''}.`}</div>;
            }}
          </Async>
        </section>
      )}
    </>
  );
}

function Rules() {
  const rules = useRules();
  const { zone } = usePreferences();
  return (
    <Async query={rules} skeleton={6}>
      {(data) => data.groups.length ? (
        <>
          {data.groups.map((g) => (
            <section className="panel group" key={g.file + g.name}>
              <header>{g.name} <span className="sub">{g.file} · every {seconds(g.interval_seconds)} · {g.last_evaluation ? `evaluated ${clock(millis(g.last_evaluation), zone)} ${zoneName(zone)} in ${seconds(g.evaluation_seconds)}` : 'not evaluated yet'}</span></header>
              <table className="dense rule-list">
                <tbody>{g.rules.map((r) => (
                  <tr key={r.name + r.expr}>
                    <td><Status state={r.health === 'err' ? 'critical' : r.state === 'firing' ? 'critical' : r.state === 'pending' ? 'info' : r.health === 'ok' ? 'ok' : 'unknown'}>{r.health === 'err' ? 'failing' : (r.state ?? r.health)}</Status></td>
                    <td><strong>{r.name}</strong>{r.contract.length ? <div className="t-warn">▲ lacks {r.contract.join(', ')}</div> : null}{r.error ? <div className="t-crit">{r.error}</div> : null}</td>
                    <td className="e"><Link to="/explore/metrics" search={{ expr: r.expr }} className="mono expr">{r.expr}</Link></td>
                    <td className="num nowrap">{r.for_seconds ? `for ${seconds(r.for_seconds)}` : ''}</td>
                    <td className="nowrap">{r.kind === 'alerting' ? <Link to="/rules/edit" search={toSearch(fromRule(r, g.interval_seconds))} aria-label={`Edit a copy of ${r.name}`}>Edit a copy</Link> : null}</td>
                  </tr>
                ))}</tbody>
              </table>
            </section>
          ))}
        </>
      ) : <section className="panel"><div className="empty">No rules are loaded. Prometheus rule files go under <code>rule_files</code>, SLOs under <code>slo_files</code>.</div></section>}
    </Async>
  );
}
