/** What metrics there are: by service, type, unit, owner; by name or by number of series. */
import { useVirtualizer } from '@tanstack/react-virtual';
import { useRef, useState } from 'react';
import { useMetrics } from '../../api/hooks';
import { Async } from '../../components/Async';
import { count } from '../../lib/format';

/** Names are cut in the middle: what tells `_created` and `_total` apart stands at the end. */
const TAIL = 8;
const TYPES = ['counter', 'gauge', 'histogram', 'summary', 'info', 'stateset', 'unknown'];
const SHORT: Record<string, string> = { histogram: 'hist', gaugehistogram: 'hist', unknown: '?' };

export interface Narrow { service?: string | undefined; type?: string | undefined; unit?: string | undefined; owner?: string | undefined; sort?: string | undefined }

function Choice({ name, value, options, onPick }: { name: string; value: string | undefined; options: string[]; onPick: (value: string | undefined) => void }) {
  return (
    <select className="input select" aria-label={name} value={value ?? ''} onChange={(e) => onPick(e.target.value || undefined)}>
      <option value="">any {name}</option>
      {(value && !options.includes(value) ? [value, ...options] : options).map((o) => <option key={o} value={o}>{o}</option>)}
    </select>
  );
}

export function Browser({ current, narrow, onNarrow, onPick }: { current: string; narrow: Narrow; onNarrow: (next: Narrow) => void; onPick: (name: string) => void }) {
  const [filter, setFilter] = useState('');
  const metrics = useMetrics({ ...narrow });
  const host = useRef<HTMLDivElement>(null);
  const wanted = filter.toLowerCase();
  const shown = (metrics.data?.metrics ?? []).filter((m) => m.name.toLowerCase().includes(wanted) || m.help.toLowerCase().includes(wanted));
  const virtual = useVirtualizer({ count: shown.length, getScrollElement: () => host.current, estimateSize: () => 24, overscan: 10 });
  const bySeries = narrow.sort === 'series';
  return (
    <div className="metric-browser">
      <input className="input" data-query aria-label="Filter metrics" placeholder="Name or help" value={filter} onChange={(e) => setFilter(e.target.value)} />
      <div className="narrow">
        <Choice name="service" value={narrow.service} options={metrics.data?.services ?? []} onPick={(service) => onNarrow({ service })} />
        <Choice name="type" value={narrow.type} options={TYPES} onPick={(type) => onNarrow({ type })} />
        <Choice name="unit" value={narrow.unit} options={metrics.data?.units ?? []} onPick={(unit) => onNarrow({ unit })} />
        <Choice name="owner" value={narrow.owner} options={metrics.data?.owners ?? []} onPick={(owner) => onNarrow({ owner })} />
      </div>
      <div className="list-head">
        <span className="sub">{metrics.data ? `${count(shown.length)} metrics, ${count(shown.reduce((n, m) => n + m.series, 0))} series` : ''}{metrics.data?.stats.truncated ? ', cut at the limit' : ''}</span>
        <button type="button" className="link-button" onClick={() => onNarrow({ sort: bySeries ? undefined : 'series' })}>{bySeries ? 'By name' : 'Most series first'}</button>
      </div>
      <Async query={metrics} skeleton={8}>
        {(data) => (data.metrics.length === 0 ? <div className="empty">{Object.values(narrow).some(Boolean) ? <>No metric fits. <button type="button" className="link-button" onClick={() => onNarrow({ service: undefined, type: undefined, unit: undefined, owner: undefined })}>Show all</button></> : 'No metric has a sample in this range.'}</div> : (
          <div className="metric-list" ref={host} tabIndex={0} aria-label="Metrics">
            <div style={{ height: virtual.getTotalSize(), position: 'relative' }}>
              {virtual.getVirtualItems().map((item) => {
                const m = shown[item.index]!;
                return (
                  <button key={m.name} type="button" title={`${m.name}${m.help ? `: ${m.help}` : ''}\n${m.type}, ${m.series} series${m.services.length ? `, from ${m.services.join(', ')}` : ''}`} aria-pressed={m.name === current} className={m.name === current ? 'on' : ''} style={{ transform: `translateY(${item.start}px)` }} onClick={() => onPick(m.name)}>
                    <span className="mono split"><span>{m.name.slice(0, -TAIL)}</span>{m.name.slice(-TAIL)}</span><span className="sub">{SHORT[m.type] ?? m.type} <span className="num">{count(m.series)}</span></span>
                  </button>
                );
              })}
            </div>
          </div>
        ))}
      </Async>
    </div>
  );
}
