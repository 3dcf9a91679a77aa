/** Lines over time by severity; drag over bars to zoom. */
import { useRef, useState } from 'react';
import type { LogHistogram } from '../../api/types';
import { usePreferences, useRange } from '../../app/context';
import { count } from '../../lib/format';
import { clock, millis } from '../../lib/time';

const ORDER = ['FATAL', 'ERROR', 'WARN'];
const COLOUR: Record<string, string> = { FATAL: 'var(--crit)', ERROR: 'var(--crit)', WARN: 'var(--warn)' };

export function Histogram({ data }: { data: LogHistogram }) {
  const { set, bounds } = useRange();
  const { zone } = usePreferences();
  const [drag, setDrag] = useState<[number, number] | null>(null);
  const host = useRef<HTMLDivElement>(null);
  const start = millis(data.start);
  const step = millis(data.step);
  const buckets = Math.max(0, ...data.series.map(([, c]) => c.length));
  const totals = Array.from({ length: buckets }, (_, i) => data.series.reduce((n, [, c]) => n + (c[i] ?? 0), 0));
  const max = Math.max(1, ...totals);
  const series = [...data.series].sort((a, b) => (ORDER.indexOf(a[0]) + 1 || 9) - (ORDER.indexOf(b[0]) + 1 || 9));
  const bucketAt = (x: number) => {
    const box = host.current!.getBoundingClientRect();
    return Math.min(buckets - 1, Math.max(0, Math.floor(((x - box.left) / box.width) * buckets)));
  };
  const zoom = (a: number, b: number) => {
    const [low, high] = a < b ? [a, b] : [b, a];
    set({ from: new Date(start + low * step).toISOString(), to: new Date(start + (high + 1) * step).toISOString() });
  };
  return (
    <div>
      <div
        className="hist"
        ref={host}
        role="img"
        aria-label={`${count(totals.reduce((a, b) => a + b, 0))} lines over time by severity`}
        onPointerDown={(e) => { const b = bucketAt(e.clientX); setDrag([b, b]); (e.target as Element).setPointerCapture?.(e.pointerId); }}
        onPointerMove={(e) => { if (drag) setDrag([drag[0], bucketAt(e.clientX)]); }}
        onPointerUp={() => { if (drag) { const [a, b] = drag; setDrag(null); if (a !== b) zoom(a, b); } }}
      >
        {totals.map((total, i) => {
          const marked = drag && i >= Math.min(...drag) && i <= Math.max(...drag);
          return (
            <div key={i} title={`${clock(start + i * step, zone)}: ${count(total)} lines${series.map(([n, c]) => (c[i] ? `, ${count(c[i]!)} ${n || 'without level'}` : '')).join('')}`} style={marked ? { background: 'var(--accent-soft)' } : undefined}>
              {series.map(([name, counts]) => {
                const n = counts[i] ?? 0;
                return n > 0 ? <span key={name} style={{ height: Math.max(1, (n / max) * 64), background: COLOUR[name] ?? 'var(--s-rest)' }} /> : null;
              })}
            </div>
          );
        })}
      </div>
      <div className="hist-axis mono sub">
        {[0, 0.25, 0.5, 0.75, 1].map((f) => <span key={f}>{clock(bounds.from + (bounds.to - bounds.from) * f, zone).slice(0, bounds.to - bounds.from < 600_000 ? 8 : 5)}</span>)}
      </div>
    </div>
  );
}
