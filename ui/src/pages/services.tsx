/** Services: which one is worst? */
import { useSearch } from '@tanstack/react-router';
import { useEffect } from 'react';
import { useServices } from '../api/hooks';
import type { ServiceSummary } from '../api/types';
import { useSetSearch } from '../app/context';
import { Async } from '../components/Async';
import { Cost } from '../components/Cost';
import { Link } from '../components/Link';
import { Budget } from '../components/SloTable';
import { Spark } from '../components/Spark';
import { Status } from '../components/Status';
import { perSecond, percent, seconds } from '../lib/format';

const WORD = { ok: 'healthy', warning: 'impaired', critical: 'broken', unknown: 'unknown' } as const;

export default function ServicesPage() {
  const search = useSearch({ strict: false }) as { q?: string };
  const set = useSetSearch();
  const services = useServices(search.q);
  useEffect(() => { document.title = 'Services · Skopos'; }, []);
  return (
    <>
      <div className="page-h">
        <h1>Services</h1>
        <input className="input" style={{ maxWidth: 260 }} data-query aria-label="Filter by name" placeholder="Filter by name" defaultValue={search.q ?? ''} onChange={(e) => set({ q: e.target.value || undefined }, true)} />
        <span className="sub"><Cost stats={services.data?.stats} /></span>
      </div>
      <section className="panel">
        <Async query={services} skeleton={6}>
          {(data) => data.services.length ? <ServiceTable services={data.services} /> : (
            <div className="empty-page">
              <p><strong>No telemetry carries <code>service.name</code> in this range.</strong></p>
              <pre className="code">{`OTEL_SERVICE_NAME=my-service\nOTEL_EXPORTER_OTLP_ENDPOINT=${window.location.protocol}//${window.location.hostname}:4318`}</pre>
            </div>
          )}
        </Async>
      </section>
    </>
  );
}

export function ServiceTable({ services, compact = false }: { services: ServiceSummary[]; compact?: boolean }) {
  return (
    <table className="dense rows">
      <thead>
        <tr><th>health</th><th>service</th><th className="r">traffic</th><th className="wide" /><th className="r">errors</th><th className="r">p99</th>{compact ? null : <><th>budget left</th><th className="wide">release</th><th className="wide">owner</th></>}</tr>
      </thead>
      <tbody>
        {services.map((s) => (
          <tr key={s.name}>
            <td><Status state={s.health}>{WORD[s.health]}</Status></td>
            <td><Link to={`/services/${encodeURIComponent(s.name)}`}><strong>{s.name}</strong></Link><div className="sub">{s.reason}</div></td>
            <td className="r num">{perSecond(s.rate)}</td>
            <td className="wide"><Spark values={s.spark} label={`traffic of ${s.name} over the range`} /></td>
            <td className={`r num ${s.error_ratio && s.error_ratio > 0.01 ? 't-crit' : ''}`}>{percent(s.error_ratio)}</td>
            <td className="r num">{seconds(s.p99)}</td>
            {compact ? null : <><td><Budget remaining={s.budget_remaining} /></td><td className="wide mono">{s.version ?? '—'}</td><td className="wide">{s.owner ?? '—'}</td></>}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
