/**
 * Lines over time. Title says what and by what; the unit is on every axis value; a gap is a gap. Drag zooms the whole
 * page, double-click goes back, arrow keys move the cursor and read values aloud, and every chart is also a table.
 */
import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useId, useMemo, useRef, useState } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Marker, SeriesFrame } from '../api/types';
import { usePreferences, useRange } from '../app/context';
import { withUnit, type Unit } from '../lib/format';
import { clock, millis, stamp, zoneName, type Zone } from '../lib/time';
import { css, drawBands, drawMarks, pointAt, type Band, type ChartPoint, type Threshold } from './draw';
import { mixed } from './mixed';

export type { Band, ChartPoint, Threshold } from './draw';

const COLOURED = 6;
const DRAWN_MAX = 200;
/** The same empty list each time: a new one would draw the chart anew. */
const NONE: never[] = [];

export interface TimeChartProps {
  frame: SeriesFrame;
  unit: Unit;
  title: string;
  sub?: string;
  height?: number;
  markers?: Marker[];
  threshold?: Threshold;
  thresholds?: Threshold[];
  /** Shaded: something was wrong. */
  bands?: Band[];
  /** The same at another time, moved onto this one: dashed and grey. */
  compare?: { frame: SeriesFrame; name: string };
  /** Values on top of each other. */
  stack?: boolean;
  points?: ChartPoint[];
  onPoint?: (point: ChartPoint) => void;
  /** One hue, darker upwards: for p50, p95, p99. */
  shades?: boolean;
  /** Colour by name: `error` is critical red and nothing else is. */
  errorSeries?: string;
  actions?: React.ReactNode;
  max?: number;
  /** Whether series are named below (default). */
  legend?: boolean;
  /** Numbers beside each name, as a table: `last-number`, `mean`, `min`, `max`, `sum`, `first-number`. */
  legendValues?: string[];
  /** Bars in place of lines. */
  bars?: boolean;
}

export const nameOf = (s: SeriesFrame['series'][number]): string => {
  if (s.name) return s.name;
  const labels = Object.entries(s.labels).filter(([k]) => k !== '__name__');
  return labels.length ? labels.map(([k, v]) => `${k}=${v}`).join(' ') : (s.labels.__name__ ?? 'value');
};

/** One hue for percentiles, stronger upwards. */
const shade = (rank: number): number => Math.min(1, 0.45 + 0.27 * rank);

const last = (values: (number | null)[]): number | null => {
  for (let i = values.length - 1; i >= 0; i--) if (values[i] !== null && values[i] !== undefined) return values[i]!;
  return null;
};

/** Rows of a legend that is a table. */
const LEGEND_ROWS = 50;
/** Numbers of a legend, by the names documents use: what they are called, and how they come about. */
const LEGEND: Record<string, [string, (values: number[]) => number | undefined]> = {
  'last-number': ['last', (v) => v[v.length - 1]], last: ['last', (v) => v[v.length - 1]], 'first-number': ['first', (v) => v[0]], first: ['first', (v) => v[0]],
  mean: ['mean', (v) => (v.length ? v.reduce((a, b) => a + b, 0) / v.length : undefined)], sum: ['sum', (v) => (v.length ? v.reduce((a, b) => a + b, 0) : undefined)],
  min: ['min', (v) => (v.length ? Math.min(...v) : undefined)], max: ['max', (v) => (v.length ? Math.max(...v) : undefined)],
};

/** A moment on the axis: with its date where days pass, alone where a day begins. */
function axisTime(ms: number, before: number | undefined, after: number | undefined, bounds: { from: number; to: number }, zone: Zone): string {
  const text = stamp(ms, zone);
  const span = bounds.to - bounds.from;
  if (span < 600_000) return text.slice(11, 19);
  if (span <= 93_600_000) return text.slice(11, 16);
  const step = ((after ?? ms / 1000) - (before ?? ms / 1000)) / (after !== undefined && before !== undefined ? 2 : 1);
  return step >= 86_400 || text.slice(11, 16) === '00:00' ? text.slice(5, 10) : text.slice(5, 16);
}

export function TimeChart(props: TimeChartProps) {
  const { frame, unit, title, sub, height = 200, markers = NONE, threshold, thresholds = NONE, bands = NONE, compare, stack, points = NONE, onPoint, shades, errorSeries, actions, max, legend = true, legendValues, bars } = props;
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const scheme = useComputedColorScheme('dark');
  const { zone } = usePreferences();
  const { set, bounds } = useRange();
  const [isolated, setIsolated] = useState<string | null>(null);
  const [table, setTable] = useState(false);
  const [spoken, setSpoken] = useState('');
  const id = useId();

  const series = useMemo(() => {
    const list = frame.series.slice(0, DRAWN_MAX).map((s) => ({ name: nameOf(s), values: s.values, last: last(s.values) }));
    const order = shades ? list : [...list].sort((a, b) => (b.last ?? -Infinity) - (a.last ?? -Infinity));
    return order.map((s, rank) => ({ ...s, rank, drawn: s.values }));
  }, [frame, shades]);
  const drawn = useMemo(() => {
    if (!stack) return series;
    // Each line stands on those below it; the largest is at the bottom. A gap of one is none of the others. The highest
    // is drawn first: what stands below covers its area.
    const sum: number[] = [];
    return series.map((s) => ({ ...s, drawn: s.values.map((v, i) => (v === null ? null : (sum[i] = (sum[i] ?? 0) + v))) })).reverse();
  }, [series, stack]);
  const before = useMemo(() => (compare?.frame.series ?? []).slice(0, COLOURED).map((s) => ({ name: `${nameOf(s)} ${compare!.name}`, values: s.values })), [compare]);
  const limits = useMemo(() => (threshold ? [threshold, ...thresholds] : thresholds), [threshold, thresholds]);

  const start = millis(frame.start);
  const step = millis(frame.step);
  const length = Math.max(0, ...frame.series.map((s) => s.values.length));

  useEffect(() => {
    const element = host.current;
    if (!element || table) return;
    const colour = (s: (typeof series)[number]): string => {
      if (errorSeries && s.name === errorSeries) return css('--crit');
      if (isolated !== null) return s.name === isolated ? css('--s1') : css('--s-rest');
      if (shades && isolated === null) return css('--s1');
      return s.rank < COLOURED ? css(`--s${s.rank + 1}`) : css('--s-rest');
    };
    const xs = Array.from({ length }, (_, i) => (start + i * step) / 1000);
    const grid = { stroke: css('--line'), width: 1 };
    const axis = { stroke: css('--text-3'), font: '11px "JetBrains Mono Variable", monospace', grid, ticks: { show: false } };
    const options: uPlot.Options = {
      width: element.clientWidth || 600,
      height,
      padding: [14, 32, 0, 0],
      cursor: { sync: { key: 'page' }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      legend: { show: false },
      scales: { x: { time: true, range: () => [bounds.from / 1000, bounds.to / 1000] }, y: { range: (_u, min, m) => [Number.isFinite(min) && min < 0 ? min * 1.08 : 0, Math.max(max ?? 0, ...limits.map((t) => t.value * 1.15), (Number.isFinite(m) && m > 0 ? m : (max ?? 1)) * 1.08)] } },
      axes: [
        { ...axis, values: (_u, splits) => splits.map((s, i) => axisTime(s * 1000, splits[i - 1], splits[i + 1], bounds, zone)), space: 84, size: 28 },
        { ...axis, values: (_u, splits) => splits.map((v) => withUnit(v, unit)), size: (_u, values) => 18 + 6.8 * Math.max(3, ...(values ?? []).map((v) => v.length)), space: 34 },
      ],
      series: [
        {},
        ...before.map((s): uPlot.Series => ({ label: s.name, stroke: css('--text-3'), width: 1, dash: [4, 4], spanGaps: false, points: { show: false } })),
        ...drawn.map((s): uPlot.Series => ({ label: s.name, stroke: colour(s), ...(bars ? { paths: uPlot.paths.bars!({ size: [0.8, 60] }), fill: stack ? mixed(colour(s), css('--surface'), 0.6) : `${colour(s)}99` } : stack ? { fill: mixed(colour(s), css('--surface'), 0.28) } : {}), width: shades ? 1 + s.rank * 0.4 : 1.4, alpha: shades ? shade(s.rank) : 1, spanGaps: false, points: { show: false } })),
      ],
      hooks: {
        setSelect: [(u) => {
          if (u.select.width < 4) return;
          const from = u.posToVal(u.select.left, 'x') * 1000;
          const to = u.posToVal(u.select.left + u.select.width, 'x') * 1000;
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          set({ from: new Date(from).toISOString(), to: new Date(to).toISOString() });
        }],
        drawAxes: [(u) => drawBands(u, bands)],
        draw: [(u) => drawMarks(u, { markers, thresholds: limits, points, unit })],
      },
    };
    const tip = document.createElement('div');
    tip.className = 'u-tip';
    tip.style.display = 'none';
    options.hooks!.setCursor = [(u) => {
      const i = u.cursor.idx;
      if (i === null || i === undefined || (u.cursor.left ?? -1) < 0) { tip.style.display = 'none'; return; }
      tip.replaceChildren();
      const head = document.createElement('div');
      head.textContent = `${bounds.to - bounds.from > 86_400_000 ? stamp(xs[i]! * 1000, zone) : clock(xs[i]! * 1000, zone)} ${zoneName(zone)}`;
      head.className = 'sub';
      tip.append(head);
      for (const s of [...series.slice(0, COLOURED).map((s) => ({ ...s, stroke: colour(s) })), ...before.map((s) => ({ ...s, stroke: css('--text-3') }))]) {
        const value = s.values[i];
        if (value === null || value === undefined) continue;
        const row = document.createElement('div');
        const swatch = document.createElement('span');
        swatch.className = 'sw';
        swatch.style.background = s.stroke;
        const n = document.createElement('span');
        n.className = 'n';
        n.textContent = s.name;
        const b = document.createElement('b');
        b.textContent = withUnit(value, unit);
        row.append(swatch, n, b);
        tip.append(row);
      }
      tip.style.display = 'block';
      const left = u.cursor.left ?? 0;
      const right = left > u.over.clientWidth / 2;
      tip.style.left = right ? 'auto' : `${left + 90}px`;
      tip.style.right = right ? `${u.over.clientWidth - left + 24}px` : 'auto';
      tip.style.top = '12px';
    }];
    const u = new uPlot(options, [xs, ...before.map((s) => xs.map((_, i) => s.values[i] ?? null)), ...drawn.map((s) => s.drawn)] as uPlot.AlignedData, element);
    element.append(tip);
    u.over.tabIndex = 0;
    u.over.setAttribute('role', 'img');
    u.over.setAttribute('aria-label', `${title}. Arrow keys read values.`);
    let at = length - 1;
    const onKey = (e: KeyboardEvent) => {
      const by = e.shiftKey ? 50 : 1;
      if (e.key !== 'ArrowLeft' && e.key !== 'ArrowRight') return;
      e.preventDefault();
      at = Math.min(length - 1, Math.max(0, at + (e.key === 'ArrowLeft' ? -by : by)));
      u.setCursor({ left: u.valToPos(xs[at]!, 'x'), top: 10 });
      setSpoken(`${stamp(xs[at]! * 1000, zone)}: ${series.slice(0, COLOURED).map((s) => `${s.name} ${withUnit(s.values[at] ?? null, unit)}`).join(', ')}`);
    };
    const onClick = (e: MouseEvent) => {
      if (!onPoint || points.length === 0) return;
      const box = u.over.getBoundingClientRect();
      const [cx, cy] = [e.clientX - box.left, e.clientY - box.top];
      let best: ChartPoint | null = null;
      let distance = 24 * 24;
      for (const p of points) {
        const at = pointAt(u, p, false);
        if (!at) continue;
        const d = (at.x - cx) ** 2 + (at.y - cy) ** 2;
        if (d < distance) { distance = d; best = p; }
      }
      if (best) onPoint(best);
    };
    const onDouble = () => history.back();
    u.over.addEventListener('keydown', onKey);
    u.over.addEventListener('click', onClick);
    u.over.addEventListener('dblclick', onDouble);
    plot.current = u;
    const observer = new ResizeObserver(() => u.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      u.destroy();
      tip.remove();
    };
  }, [series, drawn, before, scheme, zone, unit, height, markers, limits, bands, stack, bars, points, onPoint, isolated, table, shades, errorSeries, start, step, length, title, set, max, bounds.from, bounds.to]);

  const rest = series.slice(COLOURED);
  const restMax = Math.max(0, ...rest.map((s) => s.last ?? 0));
  return (
    <section className="panel" aria-labelledby={id}>
      <header>
        <span id={id}>{title}</span>
        {sub ? <span className="sub">{sub}</span> : null}
        <span className="sp" />
        {actions}
        <button className="link-button" type="button" aria-pressed={table} onClick={() => setTable(!table)}>{table ? 'Chart' : 'Table'}</button>
      </header>
      {table ? (
        <div className="chart-table">
          <table className="dense">
            <thead><tr><th>time ({zoneName(zone)})</th>{series.slice(0, 20).map((s) => <th key={s.name} className="r">{s.name}</th>)}</tr></thead>
            <tbody>
              {Array.from({ length }, (_, i) => length - 1 - i).slice(0, 500).map((i) => (
                <tr key={i}><td className="mono">{stamp(start + i * step, zone)}</td>{series.slice(0, 20).map((s) => <td key={s.name} className="r num">{withUnit(s.values[i] ?? null, unit)}</td>)}</tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : series.length === 0 ? (
        <div className="empty" style={{ height }}>No data in this range</div>
      ) : (
        <div className="chart" ref={host} style={{ minHeight: height }} />
      )}
      {legend && legendValues && series.length > 1 ? (
        <div className="legend-table">
          <table className="dense"><thead><tr><th />{legendValues.map((v) => <th key={v} className="r">{LEGEND[v]?.[0] ?? v}</th>)}</tr></thead>
            <tbody>{series.slice(0, LEGEND_ROWS).map((s) => (
              <tr key={s.name}>
                <td><button type="button" className="link-button" aria-pressed={isolated === s.name} onClick={() => setIsolated(isolated === s.name ? null : s.name)}><span className="sw" style={{ background: s.rank < COLOURED ? `var(--s${s.rank + 1})` : 'var(--s-rest)' }} /> {s.name}</button></td>
                {legendValues.map((v) => <td key={v} className="r num">{withUnit(LEGEND[v]?.[1](s.values.filter((x): x is number => x !== null)) ?? null, unit)}</td>)}
              </tr>
            ))}</tbody>
          </table>
          {series.length > LEGEND_ROWS ? <div className="foot">{LEGEND_ROWS} of {series.length}</div> : null}
        </div>
      ) : null}
      <div className="legend" hidden={!legend || (legendValues !== undefined && series.length > 1)}>
        {series.slice(0, COLOURED).map((s) => (
          <button key={s.name} type="button" aria-pressed={isolated === s.name} onClick={() => setIsolated(isolated === s.name ? null : s.name)}>
            <span className="sw" style={{ background: errorSeries === s.name ? 'var(--crit)' : shades ? 'var(--s1)' : `var(--s${s.rank + 1})`, opacity: shades ? shade(s.rank) : 1 }} />
            {s.name} <span className="num">{withUnit(s.last, unit)}</span>
          </button>
        ))}
        {before.length ? <span><span className="sw dashed" /> {compare!.name}</span> : null}
        {rest.length ? <span><span className="sw" style={{ background: 'var(--s-rest)', display: 'inline-block' }} /> {rest.length} others, none above {withUnit(restMax, unit)}</span> : null}
      </div>
      <div className="sr" aria-live="polite">{spoken}</div>
    </section>
  );
}
