/** Overview: is anything wrong, and is it mine? */
import { useEffect } from 'react';
import { useAlerts, useDrills, useServices, useSlos, useStatus } from '../api/hooks';
import type { Status as StatusT } from '../api/types';
import { usePreferences } from '../app/context';
import { AlertTable } from '../components/AlertLine';
import { Async } from '../components/Async';
import { Link } from '../components/Link';
import { SloTable } from '../components/SloTable';
import { Status } from '../components/Status';
import { bytes, count } from '../lib/format';
import { ago, clock, millis, zoneName } from '../lib/time';
import { ServiceTable } from './services';

export default function OverviewPage() {
  const alerts = useAlerts();
  const services = useServices();
  const slos = useSlos();
  const status = useStatus();
  const drills = useDrills();
  const { zone } = usePreferences();
  const now = Date.now();
  useEffect(() => { document.title = 'Overview · Skopos'; }, []);
  const firing = alerts.data?.alerts.filter((a) => a.state === 'firing') ?? [];
  const pages = firing.filter((a) => a.severity === 'page' || a.severity === 'critical');
  const burning = slos.data?.slos.filter((s) => s.state === 'burning' || s.state === 'exhausted') ?? [];
  const empty = status.data && Object.values(status.data.signals).every((s) => s.rows_total === 0 && s.file_rows === 0);
  if (empty) return <Welcome status={status.data!} />;
  return (
    <>
      <div className="page-h">
        <h1>Overview</h1>
        {alerts.data ? (pages.length ? <Status state="critical">{pages.length} {pages.length === 1 ? 'page' : 'pages'} firing</Status> : firing.length ? <Status state="warning">{firing.length} {firing.length === 1 ? 'alert' : 'alerts'} firing</Status> : <Status state="ok">nothing is firing</Status>) : null}
        <span className="sub">{alerts.data?.last_evaluation ? `rules were last evaluated at ${clock(millis(alerts.data.last_evaluation), zone)} ${zoneName(zone)}, ${ago(millis(alerts.data.last_evaluation), now)}` : 'no rule has been evaluated yet'}</span>
      </div>
      {pages.map((a) => (
        <div className="banner" key={a.fingerprint} role="alert">
          <strong className="t-crit">✕ Page</strong>
          <span><strong>{a.name}.</strong> {a.annotations.summary ?? a.expr}{a.impact ? ` Impact: ${a.impact}` : ''}</span>
          <span className="act">
            {a.runbook ? <Link className="btn" to={`/runbooks/${a.runbook.id}`} search={{ alert: a.fingerprint }}>Runbook</Link> : null}
            <Link className="btn primary" to={`/alerts/${a.fingerprint}`}>Open alert</Link>
          </span>
        </div>
      ))}
      <div className="grid">
        <Tile title="Log lines" signal={status.data?.signals.logs} />
        <Tile title="Spans" signal={status.data?.signals.traces} />
        <Tile title="Samples" signal={status.data?.signals.metrics} />
        <Link to="/status" className="panel tile c3">
          <div className="k">Write-ahead log {status.data ? (status.data.wal.writable ? <span className="t-ok">✓</span> : <span className="t-crit">✕</span>) : null}</div>
          <div className="v">{bytes(status.data?.wal.bytes)}</div>
          <div className="d">{status.data ? `${status.data.wal.segments} ${status.data.wal.segments === 1 ? 'segment' : 'segments'}, ${status.data.wal.writable ? 'writable' : status.data.wal.error}` : ''}</div>
        </Link>
        <section className="panel c12">
          <header>Firing and pending <span className="sp" /><Link to="/alerts">All alerts</Link></header>
          <Async query={alerts}>{(data) => { const open = data.alerts.filter((a) => a.state !== 'resolved'); return open.length ? <AlertTable alerts={open} now={now} /> : <div className="empty">Nothing is firing.</div>; }}</Async>
        </section>
        <section className="panel c8">
          <header>Services, worst first <span className="sp" /><Link to="/services">All services</Link></header>
          <Async query={services}>{(data) => data.services.length ? <ServiceTable services={data.services.slice(0, 6)} compact /> : <div className="empty">No service has sent anything in this range.</div>}</Async>
        </section>
        <section className="panel c4">
          <header>Last drills <span className="sp" /><Link to="/drills">All drills</Link></header>
          <Async query={drills}>
            {(data) => data.drills.length ? (
              <table className="dense"><tbody>{data.drills.slice(0, 5).map((d) => (
                <tr key={d.id}><td><Status state={d.outcome === 'passed' ? 'ok' : d.outcome === 'failed' ? 'critical' : 'info'}>{d.outcome}</Status></td><td><Link to={`/drills/${d.id}`}>{d.scenario}</Link></td><td className="r sub num">{ago(millis(d.started), now)}</td></tr>
              ))}</tbody></table>
            ) : <div className="empty">No drill has been run. <Link to="/drills">Rehearse a failure</Link></div>}
          </Async>
        </section>
        <section className="panel c12">
          <header>{burning.length ? 'Burning SLOs' : 'SLOs'} <span className="sp" /><Link to="/slos">All SLOs</Link></header>
          <Async query={slos}>{(data) => data.slos.length ? <SloTable slos={(burning.length ? burning : data.slos).slice(0, 6)} /> : <div className="empty">No SLO is defined. Add OpenSLO files under <code>slo_files</code>.</div>}</Async>
        </section>
      </div>
    </>
  );
}

function Tile({ title, signal }: { title: string; signal: StatusT['signals']['logs'] | undefined }) {
  return (
    <Link to="/status" className="panel tile c3">
      <div className="k">{title} {signal?.rejected_total ? <span className="t-warn">▲ {count(signal.rejected_total)} rejected</span> : null}</div>
      <div className="v">{count(signal?.rows_per_second)}<small>/s</small></div>
      <div className="d">{signal ? `${count(signal.rows_total)} since the start, ${bytes(signal.file_bytes)} in ${signal.files} files` : ''}</div>
    </Link>
  );
}

/** Nothing has come in yet: how to send, and the page turns live at the first data. */
function Welcome({ status }: { status: StatusT }) {
  const base = `${window.location.protocol}//${status.addresses.otlp_http ?? status.addresses.http}`;
  return (
    <div className="empty-page">
      <h1>Skopos is running and waits for telemetry</h1>
      <p>Point any OpenTelemetry SDK here; this page turns live with the first span, line or sample.</p>
      <pre className="code">{`export OTEL_SERVICE_NAME=my-service\nexport OTEL_EXPORTER_OTLP_ENDPOINT=${base}`}</pre>
      <p>Or send a line:</p>
      <pre className="code">{`echo '{"level":"info","service":"hello","message":"it works"}' \\\n  | curl --data-binary @- ${window.location.origin}/v1/logs/json`}</pre>
      <p>Or let Prometheus write here:</p>
      <pre className="code">{`remote_write:\n  - url: ${window.location.origin}/api/v1/write`}</pre>
    </div>
  );
}
