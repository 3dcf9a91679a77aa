/** Service: what is broken, since when, why? */
import { useNavigate, useParams } from '@tanstack/react-router';
import { useCallback, useEffect, useMemo } from 'react';
import { useCapacity, useGolden, useService } from '../../api/hooks';
import type { GoldenSignals, ServiceDetail } from '../../api/types';
import { TimeChart, type ChartPoint } from '../../charts/TimeChart';
import { AlertTable } from '../../components/AlertLine';
import { Async } from '../../components/Async';
import { Cost } from '../../components/Cost';
import { Link } from '../../components/Link';
import { SloTable } from '../../components/SloTable';
import { Status } from '../../components/Status';
import { perSecond, percent, seconds, significant } from '../../lib/format';
import { quote } from '../../lib/filter';
import { millis } from '../../lib/time';
import { DependencyMap } from './DependencyMap';
import { Probes } from './Probes';

const WORD = { ok: 'Healthy', warning: 'Impaired', critical: 'Broken', unknown: 'Unknown' } as const;

export default function ServicePage() {
  const { name } = useParams({ strict: false }) as { name: string };
  const service = useService(name);
  const golden = useGolden(name);
  useEffect(() => { document.title = `${name} · Skopos`; }, [name]);
  return (
    <Async query={service} skeleton={8}>
      {(data) => (
        <>
          <Head data={data} />
          <Tiles data={data} name={name} />
          <Async query={golden} skeleton={8}>{(signals) => <Charts golden={signals} name={name} />}</Async>
          <Tables data={data} name={name} />
        </>
      )}
    </Async>
  );
}

function Head({ data }: { data: ServiceDetail }) {
  const page = data.alerts.find((a) => a.state === 'firing');
  const runbook = page?.runbook ?? data.runbooks[0];
  return (
    <>
      <div className="page-h">
        <h1>{data.name}</h1>
        <Status state={data.health}>{WORD[data.health]}</Status>
        <span className="sub">{[data.owner ? `owner ${data.owner}` : 'no owner', data.version ? `version ${data.version}` : null, data.instances.length ? `${data.instances.length} ${data.instances.length === 1 ? 'instance' : 'instances'}` : null, data.environments.join(', ') || null].filter(Boolean).join(' · ')}</span>
        <span className="sp" />
        <Link className="btn" to="/logs" search={{ q: `service:${quote(data.name)}` }}>Logs</Link>
        <Link className="btn" to="/traces" search={{ q: `service:${quote(data.name)}` }}>Traces</Link>
        {runbook ? <Link className="btn" to={`/runbooks/${runbook.id}`} search={page ? { alert: page.fingerprint } : {}}>Runbook</Link> : null}
      </div>
      <div className={`banner ${page ? '' : data.health === 'critical' ? '' : 'info'}`}>
        <strong className={page || data.health === 'critical' ? 't-crit' : ''}>{page ? '✕ Firing' : data.health === 'ok' ? '✓ Healthy' : data.health === 'unknown' ? '? Unknown' : '▲ Impaired'}</strong>
        <span><strong>{data.verdict[0]}</strong> {data.verdict[1]}</span>
        {page ? <span className="act"><Link className="btn primary" to={`/alerts/${page.fingerprint}`}>Open alert</Link></span> : null}
      </div>
    </>
  );
}

function Tiles({ data, name }: { data: ServiceDetail; name: string }) {
  const capacity = useCapacity(name);
  const note = capacity.data;
  const bad = (data.error_ratio ?? 0) > 0.01;
  return (
    <div className="grid tiles">
      <div className="panel tile c3"><div className="k">Traffic</div><div className="v">{perSecond(data.rate)}</div><div className="d">server and consumer spans in this range</div></div>
      <Link className="panel tile c3" to="/traces" search={{ q: `service:${quote(name)} status:error` }}><div className="k">Errors {bad ? <span className="t-crit">✕</span> : <span className="t-ok">✓</span>}</div><div className={`v ${bad ? 't-crit' : ''}`}>{percent(data.error_ratio)}</div><div className="d">open failing traces</div></Link>
      <Link className="panel tile c3" to="/traces" search={{ q: `service:${quote(name)} dur:>${Math.max(1, Math.round((data.p99 ?? 0) * 900))}ms` }}><div className="k">p99 latency</div><div className="v">{seconds(data.p99)}</div><div className="d">p50 {seconds(data.p50)}, p95 {seconds(data.p95)}</div></Link>
      <div className="panel tile c3" title={note?.notes.join('; ')}>
        <div className="k">Headroom at 60% CPU{note?.provisional ? ' · provisional' : ''}</div>
        <div className="v">{note?.headroom === null || note?.headroom === undefined ? '—' : `${significant(note.headroom + 1)}×`}</div>
        <div className="d">{note ? (note.safe_rps ? `${significant(note.rps.current)} of ${significant(note.safe_rps)} req/s` : `${significant(note.rps.current)} req/s now; no headroom yet`) : capacity.isError ? 'no capacity figures yet' : '…'}</div>
      </div>
    </div>
  );
}

function Charts({ golden, name }: { golden: GoldenSignals; name: string }) {
  const navigate = useNavigate();
  const points = useMemo<ChartPoint[]>(() => golden.exemplars.map((e) => ({ time: millis(e.time), value: e.seconds, label: e.trace_id, error: e.error })), [golden.exemplars]);
  const open = useCallback((p: ChartPoint) => void navigate({ to: `/traces/${p.label}` as never, search: ((s: Record<string, unknown>) => ({ env: s.env, from: s.from, to: s.to })) as never }), [navigate]);
  const explore = (expr: string) => <Link to="/explore/metrics" search={{ expr }}>Explore</Link>;
  const calls = `traces_spanmetrics_calls_total{service=${JSON.stringify(name)},span_kind=~"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER"}`;
  const bucket = `traces_spanmetrics_duration_seconds_bucket{service=${JSON.stringify(name)},span_kind=~"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER"}`;
  const saturated = golden.saturation.series.length > 0;
  const slowest = golden.exemplars.find((e) => e.error) ?? golden.exemplars[0];
  return (
    <div className="grid charts">
      <div className="c6"><TimeChart title="Traffic by outcome" unit="rate" frame={golden.traffic} markers={golden.markers} errorSeries="error" actions={explore(`sum by (status_code) (rate(${calls}[1m]))`)} /></div>
      <div className="c6"><TimeChart title="Share of failed requests" unit="ratio" frame={golden.errors} markers={golden.markers} max={0.01} actions={explore(`sum(rate(${calls.replace('}', ',status_code="STATUS_CODE_ERROR"}')}[1m])) / sum(rate(${calls}[1m]))`)} /></div>
      <div className={saturated ? 'c6' : 'c12'}>
        <TimeChart title="Latency percentiles" sub="points are traces: click one" unit="seconds" frame={golden.latency} markers={golden.markers} points={points} onPoint={open} shades actions={<>{slowest ? <Link to={`/traces/${slowest.trace_id}`} data-testid="exemplar">{slowest.error ? 'A failing trace' : 'The slowest trace'}</Link> : null} {explore(`histogram_quantile(0.99, sum by (le) (rate(${bucket}[1m])))`)}</>} />
      </div>
      {saturated ? <div className="c6"><TimeChart title="Saturation" unit="ratio" frame={golden.saturation} markers={golden.markers} max={1} /></div> : null}
      <div className="foot c12"><Cost stats={golden.stats} />{saturated ? null : ' · no saturation is reported by this service'}</div>
    </div>
  );
}

function Tables({ data, name }: { data: ServiceDetail; name: string }) {
  return (
    <div className="grid">
      <section className="panel c8">
        <header>Operations <span className="sub">most requests first</span></header>
        {data.routes.length ? (
          <table className="dense rows">
            <thead><tr><th>operation</th><th>kind</th><th className="r">traffic</th><th className="r">errors</th><th className="r">p50</th><th className="r">p95</th><th className="r">p99</th></tr></thead>
            <tbody>{data.routes.map((r) => (
              <tr key={r.name + r.kind}><td><Link to="/traces" search={{ q: `service:${quote(name)} name:${quote(r.name)}` }}>{r.name}</Link></td><td className="sub">{r.kind}</td><td className="r num">{perSecond(r.rate)}</td><td className={`r num ${r.error_ratio > 0.01 ? 't-crit' : ''}`}>{percent(r.error_ratio)}</td><td className="r num">{seconds(r.p50)}</td><td className="r num">{seconds(r.p95)}</td><td className="r num">{seconds(r.p99)}</td></tr>
            ))}</tbody>
          </table>
        ) : <div className="empty">No server or consumer spans in this range.</div>}
      </section>
      <section className="panel c4">
        <header>Dependencies <span className="sub">{data.dependencies.length} edges</span></header>
        <DependencyMap service={data} />
      </section>
      <section className="panel c12">
        <header>Calls to and from others</header>
        {data.dependencies.length ? (
          <table className="dense rows">
            <thead><tr><th>direction</th><th>name</th><th>kind</th><th className="r">traffic</th><th className="r">errors</th><th className="r">p50</th><th className="r">p99</th></tr></thead>
            <tbody>{data.dependencies.map((d) => (
              <tr key={d.direction + d.name}><td className="sub">{d.direction}</td><td>{d.kind === 'service' ? <Link to={`/services/${encodeURIComponent(d.name)}`}>{d.name}</Link> : d.name}</td><td className="sub">{d.kind}</td><td className="r num">{perSecond(d.rate)}</td><td className={`r num ${d.error_ratio > 0.01 ? 't-crit' : ''}`}>{percent(d.error_ratio)}</td><td className="r num">{seconds(d.p50)}</td><td className="r num">{seconds(d.p99)}</td></tr>
            ))}</tbody>
          </table>
        ) : <div className="empty">No traced calls to or from other services.</div>}
      </section>
      {data.probes.length ? <Probes probes={data.probes} /> : null}
      {data.alerts.length ? <section className="panel c12"><header>Alerts</header><AlertTable alerts={data.alerts} now={Date.now()} /></section> : null}
      {data.slos.length ? <section className="panel c12"><header>SLOs</header><SloTable slos={data.slos} /></section> : null}
    </div>
  );
}
