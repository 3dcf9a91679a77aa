/** Cardinality: which metric has how many series, which label makes them many, whose they are, what is refused and since when. */
import { useSearch } from '@tanstack/react-router';
import { useEffect } from 'react';
import { useGet } from '../api/hooks';
import type { Cardinality, Flood, Floods } from '../api/types';
import { usePreferences, useSetSearch } from '../app/context';
import { Async } from '../components/Async';
import { Link } from '../components/Link';
import { Status } from '../components/Status';
import { bytes, count, percent } from '../lib/format';
import { ago, millis, stamp, zoneName } from '../lib/time';

const TABS = [[undefined, 'Refused'], ['metrics', 'Metrics'], ['labels', 'Labels'], ['sources', 'Sources']] as const;
/** Of a limit this share in use is told as a warning: what comes next may be refused. */
const NEAR = 0.9;
const OFTEN = 10_000;

export default function CardinalityPage() {
  const search = useSearch({ strict: false }) as { tab?: string; metric?: string };
  const set = useSetSearch();
  const floods = useGet<Floods>('/v1/floods', {}, { refetch: OFTEN });
  const cardinality = useGet<Cardinality>('/v1/cardinality', { top: 100 }, { refetch: OFTEN });
  useEffect(() => { document.title = 'Cardinality · Skopos'; }, []);
  const ongoing = floods.data?.floods.filter((f) => f.ongoing).length ?? 0;
  return (
    <>
      <div className="page-h">
        <h1>Cardinality</h1>
        <div className="tabs" role="tablist">{TABS.map(([id, name]) => <button key={name} type="button" role="tab" aria-selected={search.tab === id} onClick={() => set({ tab: id })}>{name}{id === undefined && ongoing ? ` (${ongoing})` : ''}</button>)}</div>
        <span className="sub">which label makes series many, whose they are, since when</span>
      </div>
      <Limits floods={floods.data} cardinality={cardinality.data} />
      {search.tab === 'metrics' ? <Async query={cardinality} skeleton={8}>{(data) => <Metrics data={data} />}</Async>
        : search.tab === 'labels' ? <Async query={cardinality} skeleton={8}>{(data) => <Labels data={data} />}</Async>
        : search.tab === 'sources' ? <Async query={floods} skeleton={6}>{(data) => <Sources data={data} />}</Async>
        : <Async query={floods} skeleton={6}>{(data) => <Refused data={data} metric={search.metric} />}</Async>}
    </>
  );
}

/** How much of the limits is in use, in one line of tiles. */
function Limits({ floods, cardinality }: { floods: Floods | undefined; cardinality: Cardinality | undefined }) {
  if (!floods && !cardinality) return null;
  const active = floods?.limits.active_series ?? cardinality!.active_series;
  const most = floods?.limits.active_series_max ?? cardinality!.active_series_max;
  const share = most > 0 ? active / most : 0;
  const refused = floods?.floods.reduce((n, f) => n + f.refused_series, 0) ?? 0;
  return (
    <div className="grid tiles">
      <div className="panel tile c3"><div className="k">Active series</div><div className={`v ${share >= 1 ? 't-crit' : share >= NEAR ? 't-warn' : ''}`}>{count(active)}</div><div className="d">{most > 0 ? <>{share >= NEAR ? '▲ ' : ''}{percent(share)} of {count(most)} <code>active_series_max</code></> : 'no limit'}</div></div>
      <div className="panel tile c3"><div className="k">Series refused</div><div className={`v ${refused ? 't-warn' : ''}`}>{floods ? count(refused) : '—'}</div><div className="d">{floods ? `${floods.floods.length} metrics by source, since the start` : ''}</div></div>
      <div className="panel tile c3"><div className="k">A metric may have</div><div className="v">{floods ? count(floods.limits.active_series_per_metric_max) : '—'}</div><div className="d"><code>active_series_per_metric_max</code></div></div>
      <div className="panel tile c3"><div className="k">A source may have</div><div className="v">{floods ? count(floods.limits.active_series_per_source_max) : '—'}</div><div className="d"><code>active_series_per_source_max</code></div></div>
    </div>
  );
}

function Since({ from, to, ongoing }: { from: string; to: string; ongoing: boolean }) {
  const { zone } = usePreferences();
  const now = Date.now();
  return <>{stamp(millis(from), zone)} {zoneName(zone)}{ongoing ? `, ${ago(millis(from), now)}, goes on` : `, last ${ago(millis(to), now)}`}</>;
}

function Refused({ data, metric }: { data: Floods; metric: string | undefined }) {
  const shown = metric ? data.floods.filter((f) => f.metric === metric) : data.floods;
  return (
    <>
      {shown.length === 0 ? (
        <section className="panel gone"><p><strong>✓ No new series is refused{metric ? ` of ${metric}` : ''}.</strong> When a metric or a source goes over a limit, its new series are refused and named here; what is known goes on.</p></section>
      ) : shown.map((f) => <OneFlood key={`${f.metric} ${f.source}`} flood={f} />)}
      {data.rejected.length ? (
        <section className="panel group">
          <header>Samples that were not taken <span className="sub">by reason, since the start</span></header>
          <table className="dense rows">
            <thead><tr><th>reason</th><th className="r">samples</th><th className="wide">since</th><th>the latest</th></tr></thead>
            <tbody>{data.rejected.map((r) => <tr key={r.reason}><td className="mono">{r.reason}</td><td className="r num">{count(r.samples)}</td><td className="wide num"><Since from={r.since} to={r.last} ongoing={false} /></td><td className="expr">{r.example}</td></tr>)}</tbody>
          </table>
        </section>
      ) : null}
    </>
  );
}

function OneFlood({ flood: f }: { flood: Flood }) {
  return (
    <section className="panel group flood" data-testid="flood">
      <header>
        <Status state={f.ongoing ? 'critical' : 'warning'}>{f.ongoing ? 'refused now' : 'was refused'}</Status>
        <Link to="/explore/metrics" search={{ metric: f.metric }} className="mono">{f.metric}</Link>
        <span className="sub">{f.source ? <>from <span className="mono">{f.source}</span></> : 'of no named source'}</span>
        <span className="sp" />
        {f.service ? <Link to={`/services/${encodeURIComponent(f.service)}`}>{f.service}</Link> : null}
        <span className={f.owner ? 'sub' : 't-warn'}>{f.owner ? `owner ${f.owner}` : '▲ nobody owns it'}</span>
      </header>
      <p className="inset">
        {f.label ? <>The label <strong className="mono">{f.label}</strong> explodes. </> : null}
        About {count(f.refused_series)} series and {count(f.refused_samples)} samples are refused by <code>{f.limit}</code> ({count(f.limit_value)}), since <span className="num"><Since from={f.since} to={f.last} ongoing={f.ongoing} /></span>. {count(f.active_series)} of {count(f.series)} known series are active and go on.
      </p>
      <table className="dense rows">
        <thead><tr><th>label</th><th className="r">values</th><th className="r">new</th><th className="r">refused</th><th>newest</th></tr></thead>
        <tbody>{f.labels.map((l) => (
          <tr key={l.label} className={l.label === f.label ? 'sel' : ''}>
            <td className="mono">{l.label}</td><td className="r num">{count(l.values)}</td><td className="r num">{count(l.recent_values)}</td><td className="r num">{count(l.refused_values)}</td><td className="mono expr sub">{l.examples.join(', ')}</td>
          </tr>
        ))}</tbody>
      </table>
    </section>
  );
}

function Metrics({ data }: { data: Cardinality }) {
  const { zone } = usePreferences();
  return (
    <section className="panel">
      <header>Metrics <span className="sub">{count(data.series)} series known; new since {stamp(millis(data.recent_since), zone)} {zoneName(zone)}</span></header>
      <div className="sql-result">
        <table className="dense rows">
          <thead><tr><th>metric</th><th className="r">series</th><th className="r wide">active</th><th className="r">new</th><th className="r">refused</th><th>labels with most values</th><th className="wide">from</th></tr></thead>
          <tbody>{data.metrics.map((m) => (
            <tr key={m.metric}>
              <td><Link to="/explore/metrics" search={{ metric: m.metric }} className="mono expr">{m.metric}</Link></td>
              <td className="r num">{count(m.series)}</td><td className="r num wide">{count(m.active_series)}{m.active_series_max > 0 && m.active_series >= m.active_series_max * NEAR ? <span className="t-warn"> ▲ of {count(m.active_series_max)}</span> : null}</td>
              <td className="r num">{count(m.recent_series)}</td>
              <td className="r num">{m.refused ? <Link to="/explore/cardinality" search={{ metric: m.metric }} className="t-warn">▲ {count(m.refused)}</Link> : '0'}</td>
              <td className="mono expr">{m.labels.slice(0, 4).map((l) => `${l.label} ${count(l.values)}${l.recent_values ? ` (+${count(l.recent_values)})` : ''}`).join(', ')}</td>
              <td className="wide mono expr sub">{m.sources.slice(0, 3).map((s) => `${s.name || '—'} ${count(s.count)}`).join(', ')}</td>
            </tr>
          ))}</tbody>
        </table>
      </div>
    </section>
  );
}

function Labels({ data }: { data: Cardinality }) {
  const list = (title: string, sub: string, rows: { name: string; count: number }[], show: (n: number) => string) => (
    <section className="panel c4">
      <header>{title} <span className="sub">{sub}</span></header>
      <table className="dense rows"><tbody>{rows.slice(0, 50).map((r) => <tr key={r.name}><td className="mono expr">{r.name}</td><td className="r num">{show(r.count)}</td></tr>)}</tbody></table>
    </section>
  );
  return (
    <div className="grid">
      {list('Values', `${count(data.label_names)} labels`, data.values_by_label, count)}
      {list('Memory', 'by label', data.bytes_by_label, bytes)}
      {list('Series', `${count(data.label_pairs)} pairs`, data.series_by_pair, count)}
    </div>
  );
}

function Sources({ data }: { data: Floods }) {
  if (data.sources.length === 0) return <section className="panel"><div className="empty">Nobody has sent metrics since the start.</div></section>;
  return (
    <section className="panel">
      <header>Senders of metrics <span className="sub">since the start</span></header>
      <div className="sql-result">
        <table className="dense rows">
          <thead><tr><th>source</th><th className="wide">program</th><th className="r">samples</th><th className="r wide">bytes</th><th className="r">requests</th><th>refused for a rate</th></tr></thead>
          <tbody>{data.sources.map((s) => (
            <tr key={s.source}>
              <td className="mono expr">{s.source}</td><td className="wide sub">{s.agent || '—'}</td><td className="r num">{count(s.samples)}</td><td className="r num wide">{bytes(s.bytes)}</td><td className="r num">{count(s.requests)}</td>
              <td>{s.refused_requests && s.refused_since && s.refused_last ? <><Status state={s.ongoing ? 'critical' : 'warning'}>{count(s.refused_requests)} requests</Status> <span className="sub">by <code>{s.limit}</code>{s.limit_value === null ? '' : ` (${count(s.limit_value)}/s)`} since <Since from={s.refused_since} to={s.refused_last} ongoing={s.ongoing} /></span></> : <span className="sub">no</span>}</td>
            </tr>
          ))}</tbody>
        </table>
      </div>
    </section>
  );
}
