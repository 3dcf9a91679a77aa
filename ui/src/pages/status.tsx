/** Status: what comes in, where it is kept, and what is wrong with the configuration. */
import { useEffect } from 'react';
import { useStatus } from '../api/hooks';
import type { Status as StatusT } from '../api/types';
import { usePreferences } from '../app/context';
import { Async } from '../components/Async';
import { Status } from '../components/Status';
import { bytes, count, seconds } from '../lib/format';
import { ago, millis, stamp, zoneName } from '../lib/time';

export default function StatusPage() {
  const status = useStatus();
  useEffect(() => { document.title = 'Status · Skopos'; }, []);
  return <Async query={status} skeleton={8}>{(data) => <View status={data} />}</Async>;
}

function View({ status }: { status: StatusT }) {
  const { zone } = usePreferences();
  const now = millis(status.now);
  const otlp = `${window.location.protocol}//${status.addresses.otlp_http ?? status.addresses.http}`;
  return (
    <>
      <div className="page-h"><h1>Status</h1>{status.wal.writable ? <Status state="ok">taking in telemetry</Status> : <Status state="critical">cannot write: {status.wal.error}</Status>}<span className="sub">Skopos {status.version}, running since {stamp(millis(status.started), zone)} {zoneName(zone)}</span></div>
      <div className="grid">
        <section className="panel c12">
          <header>Signals</header>
          <table className="dense">
            <thead><tr><th>signal</th><th className="r">per second</th><th className="r">since the start</th><th className="r">rejected</th><th>last</th><th className="r">in memory</th><th className="r">in files</th><th className="r">size</th><th className="r">bytes a row</th></tr></thead>
            <tbody>{(['logs', 'traces', 'metrics'] as const).map((name) => {
              const s = status.signals[name];
              return (
                <tr key={name}><td>{name}</td><td className="r num">{count(s.rows_per_second)}</td><td className="r num">{count(s.rows_total)}</td><td className={`r num ${s.rejected_total ? 't-warn' : ''}`}>{s.rejected_total ? `▲ ${count(s.rejected_total)}` : '0'}</td><td className="num">{s.last_received ? ago(millis(s.last_received), now) : 'never'}</td><td className="r num">{count(s.head_rows)} rows, {bytes(s.head_bytes)}</td><td className="r num">{count(s.file_rows)} rows, {s.files} files</td><td className="r num">{bytes(s.file_bytes)}</td><td className="r num">{s.file_rows ? (s.file_bytes / s.file_rows).toFixed(2) : '—'}</td></tr>
              );
            })}</tbody>
          </table>
        </section>
        <section className="panel c6">
          <header>Send here</header>
          <pre className="code inset">{`export OTEL_EXPORTER_OTLP_ENDPOINT=${otlp}\nexport OTEL_SERVICE_NAME=my-service\n\n# OTLP/HTTP  ${status.addresses.otlp_http ?? status.addresses.http}\n# OTLP/gRPC  ${status.addresses.otlp_grpc ?? status.addresses.http}\n# Prometheus remote write  http://${status.addresses.http}/api/v1/write\n# JSON lines  http://${status.addresses.http}/v1/logs/json`}</pre>
        </section>
        <section className="panel c6">
          <header>Store and rules</header>
          <table className="kvt"><tbody>
            <tr><td>write-ahead log</td><td>{bytes(status.wal.bytes)} in {status.wal.segments} {status.wal.segments === 1 ? 'segment' : 'segments'}{status.wal.oldest ? `, oldest ${ago(millis(status.wal.oldest), now)}` : ''}</td></tr>
            <tr><td>rules</td><td>{status.evaluation.rules}{status.evaluation.failing ? <span className="t-crit"> ✕ {status.evaluation.failing} failing</span> : ''}</td></tr>
            <tr><td>evaluation lag</td><td>{seconds(status.evaluation.lag_seconds)}</td></tr>
            <tr><td>changes need a key</td><td>{status.auth_required ? 'yes' : 'no (--insecure)'}</td></tr>
          </tbody></table>
        </section>
        <section className="panel c12">
          <header>Configuration <span className="sub">{status.config.file ?? 'defaults, no file'} · version {status.config.version}</span></header>
          {status.config.problems.length ? (
            <table className="dense"><tbody>{status.config.problems.map((p, i) => <tr key={i}><td><Status state={p.severity === 'error' ? 'critical' : 'warning'}>{p.severity}</Status></td><td className="mono">{p.file}{p.line ? `:${p.line}` : ''}</td><td>{p.message}</td></tr>)}</tbody></table>
          ) : <div className="empty">No problems.</div>}
        </section>
      </div>
    </>
  );
}
