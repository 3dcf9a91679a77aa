/** All metrics by name, with type and help. */
import { useVirtualizer } from '@tanstack/react-virtual';
import { useMemo, useRef, useState } from 'react';
import { useGet, useRanged } from '../../api/hooks';
import { useRange } from '../../app/context';
import { Async } from '../../components/Async';

/** Names are cut in the middle: what tells `_bucket`, `_count` and `_sum` apart stands at the end. */
const TAIL = 8;

interface Names { data: string[] }
interface Metadata { data: Record<string, { type: string; help: string; unit: string }[]> }

/** What a click should show: a rate of a counter, a quantile of a histogram, a gauge as it is. */
export function suggest(name: string, type: string | undefined): string {
  if (name.endsWith('_bucket')) return `histogram_quantile(0.99, sum by (le) (rate(${name}[5m])))`;
  if (type === 'counter' || /_(total|count|sum)$/.test(name)) return `sum(rate(${name}[5m]))`;
  return name;
}

export function Browser({ onPick, current }: { onPick: (expr: string) => void; current: string }) {
  const { bounds } = useRange();
  const [filter, setFilter] = useState('');
  const names = useRanged<Names>('/api/v1/label/__name__/values', { start: Math.floor(bounds.from / 60_000) * 60, end: Math.ceil(bounds.to / 60_000) * 60 });
  const metadata = useGet<Metadata>('/api/v1/metadata');
  const host = useRef<HTMLDivElement>(null);
  const typeOf = (name: string) => (metadata.data?.data[name] ?? metadata.data?.data[name.replace(/_(bucket|count|sum|total)$/, '')])?.[0];
  const shown = useMemo(() => (names.data?.data ?? []).filter((n) => n.toLowerCase().includes(filter.toLowerCase())), [names.data, filter]);
  const virtual = useVirtualizer({ count: shown.length, getScrollElement: () => host.current, estimateSize: () => 24, overscan: 10 });
  return (
    <div className="metric-browser">
      <input className="input" aria-label="Filter metrics" placeholder={`${names.data?.data.length ?? 0} metrics`} value={filter} onChange={(e) => setFilter(e.target.value)} />
      <Async query={names} skeleton={8}>
        {() => (
          <div className="metric-list" ref={host} tabIndex={0} aria-label="Metrics">
            <div style={{ height: virtual.getTotalSize(), position: 'relative' }}>
              {virtual.getVirtualItems().map((item) => {
                const name = shown[item.index]!;
                const meta = typeOf(name);
                return (
                  <button key={name} type="button" title={meta?.help ? `${name}: ${meta.help}` : name} className={current.includes(name) ? 'on' : ''} style={{ transform: `translateY(${item.start}px)` }} onClick={() => onPick(suggest(name, meta?.type))}>
                    <span className="mono split"><span>{name.slice(0, -TAIL)}</span>{name.slice(-TAIL)}</span><span className="sub">{meta?.type ?? ''}</span>
                  </button>
                );
              })}
            </div>
          </div>
        )}
      </Async>
    </div>
  );
}
