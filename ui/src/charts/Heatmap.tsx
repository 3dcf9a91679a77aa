/** Counts by time and value: the darker, the more. Also a table, and read aloud by arrow keys. */
import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useId, useRef, useState } from 'react';
import type { Heatmap as Data } from '../api/types';
import { usePreferences, useRange } from '../app/context';
import { count } from '../lib/format';
import { clock, millis, stamp, zoneName } from '../lib/time';
import { css } from './draw';

const LEFT = 70;
const BOTTOM = 22;

export function Heatmap({ data, title, height, format, actions }: { data: Data; title: string; height: number; format: (value: number) => string; actions?: React.ReactNode }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const scheme = useComputedColorScheme('dark');
  const { bounds } = useRange();
  const { zone } = usePreferences();
  const [at, setAt] = useState<{ row: number; step: number } | null>(null);
  const [width, setWidth] = useState(600);
  const [table, setTable] = useState(false);
  const id = useId();
  const start = millis(data.start);
  const step = millis(data.step);
  const steps = Math.max(0, ...data.cells.map((c) => c.length));
  const most = Math.max(0, ...data.cells.flat().map((c) => c ?? 0));
  const bound = (value: number | null, open: string) => (value === null ? open : format(value));
  const rowName = (row: number) => { const [low, high] = data.bounds[row]!; return `${bound(low, 'below')} – ${bound(high, '∞')}`; };
  useEffect(() => {
    const element = canvas.current;
    if (!element?.parentElement) return;
    const observer = new ResizeObserver((entries) => setWidth(Math.max(200, entries[0]!.contentRect.width - 12)));
    observer.observe(element.parentElement);
    return () => observer.disconnect();
  }, [table]);
  useEffect(() => {
    const element = canvas.current;
    const ctx = element?.getContext('2d');
    if (!element || !ctx) return;
    const ratio = devicePixelRatio;
    element.width = width * ratio;
    element.height = height * ratio;
    ctx.scale(ratio, ratio);
    ctx.clearRect(0, 0, width, height);
    const [w, h] = [width - LEFT - 8, height - BOTTOM - 8];
    const x = (ms: number) => LEFT + ((ms - bounds.from) / (bounds.to - bounds.from)) * w;
    const rowHeight = h / Math.max(1, data.bounds.length);
    ctx.font = '11px "JetBrains Mono Variable", monospace';
    ctx.fillStyle = css('--text-3');
    ctx.textAlign = 'right';
    const every = Math.max(1, Math.ceil(data.bounds.length / (h / 16)));
    data.bounds.forEach(([, high], row) => { if (row % every === 0) ctx.fillText(high === null ? '∞' : format(high), LEFT - 6, 8 + h - (row + 1) * rowHeight + 9); });
    ctx.textAlign = 'center';
    const span = bounds.to - bounds.from;
    const tick = [5e3, 15e3, 30e3, 60e3, 300e3, 900e3, 1800e3, 3600e3, 10_800e3, 21_600e3, 86_400e3, 604_800e3].find((t) => span / t <= w / 84) ?? 2_592_000e3;
    for (let t = Math.ceil(bounds.from / tick) * tick; t <= bounds.to; t += tick) ctx.fillText(span > 172_800e3 ? stamp(t, zone).slice(5, 16) : clock(t, zone).slice(0, tick < 60e3 ? 8 : 5), x(t), height - 6);
    ctx.fillStyle = css('--s1');
    data.cells.forEach((cells, row) => cells.forEach((cell, i) => {
      if (!cell) return;
      const from = Math.max(LEFT, x(start + (i - 1) * step));
      const to = Math.min(LEFT + w, x(start + i * step));
      // The square root keeps rare values to be seen beside frequent ones.
      ctx.globalAlpha = 0.08 + 0.92 * Math.sqrt(cell / most);
      if (to > from) ctx.fillRect(from, 8 + h - (row + 1) * rowHeight, to - from + 0.4, rowHeight - (rowHeight > 4 ? 1 : 0));
    }));
    ctx.globalAlpha = 1;
  }, [data, scheme, width, height, bounds.from, bounds.to, zone, format, most, start, step, table]);
  const locate = (e: React.MouseEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    const time = bounds.from + ((e.clientX - box.left - LEFT) / (width - LEFT - 8)) * (bounds.to - bounds.from);
    const row = Math.floor((1 - (e.clientY - box.top - 8) / (height - BOTTOM - 8)) * data.bounds.length);
    const i = Math.ceil((time - start) / step);
    setAt(row >= 0 && row < data.bounds.length && i >= 0 && i < steps ? { row, step: i } : null);
  };
  const onKey = (e: React.KeyboardEvent) => {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0] }[e.key];
    if (!move) return;
    e.preventDefault();
    setAt((old) => ({ row: Math.min(data.bounds.length - 1, Math.max(0, (old?.row ?? 0) + move[0]!)), step: Math.min(steps - 1, Math.max(0, (old?.step ?? steps - 1) + move[1]! * (e.shiftKey ? 50 : 1))) }));
  };
  const told = at ? `${stamp(start + at.step * step, zone)} ${zoneName(zone)}, ${rowName(at.row)}: ${count(data.cells[at.row]?.[at.step] ?? null)}` : '';
  return (
    <section className="panel" aria-labelledby={id}>
      <header><span id={id}>{title}</span><span className="sp" />{actions}<button className="link-button" type="button" aria-pressed={table} onClick={() => setTable(!table)}>{table ? 'Chart' : 'Table'}</button></header>
      {most === 0 ? <div className="empty" style={{ height }}>No data in this range</div> : table ? (
        <div className="chart-table"><table className="dense"><thead><tr><th>values</th><th className="r">in all</th><th className="r">newest</th></tr></thead><tbody>
          {data.bounds.map((_, row) => ({ row, cells: data.cells[row]! })).reverse().map(({ row, cells }) => <tr key={row}><td className="mono">{rowName(row)}</td><td className="r num">{count(cells.reduce<number>((n, c) => n + (c ?? 0), 0))}</td><td className="r num">{count(cells[cells.length - 1] ?? null)}</td></tr>)}
        </tbody></table></div>
      ) : (
        <div className="chart heat" role="img" tabIndex={0} aria-label={`${title}. Arrow keys read values.`} onKeyDown={onKey} onMouseMove={locate} onMouseLeave={() => setAt(null)}>
          <canvas ref={canvas} style={{ width, height, display: 'block' }} />
        </div>
      )}
      <div className="legend"><span className="num">{told || '\u00a0'}</span></div>
      <div className="sr" aria-live="polite">{told}</div>
    </section>
  );
}
