/** What stands on a chart beside its lines: thresholds, changes, times in which something was wrong, single observations. */
import type uPlot from 'uplot';
import type { Marker } from '../api/types';
import { withUnit, type Unit } from '../lib/format';
import { millis } from '../lib/time';

/** A stretch of time that is shaded: an alert fired, an incident was open. */
export interface Band { from: number; to: number; title: string; /** it was not bad yet: an alert was pending */ mild?: boolean }

/** A value to be seen against. */
export interface Threshold { value: number; name: string; /** how bad it is beyond; a limit that must not be passed when absent */ tone?: 'ok' | 'warning' | 'critical' }

/** An observation; `value` null puts it on the axis. */
export interface ChartPoint { time: number; value: number | null; label: string; error?: boolean }

export const css = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim() || getComputedStyle(document.body).getPropertyValue(name).trim();

/** Markers this near to each other are drawn as one, with their number. */
const MERGE_PX = 8;

/** Markers that fall together on a chart: the first of each group with the number of its members. */
export function merged(markers: { x: number; title: string }[], near: number): { x: number; title: string }[] {
  const out: { x: number; title: string; count: number }[] = [];
  for (const m of [...markers].sort((a, b) => a.x - b.x)) {
    const last = out[out.length - 1];
    if (last && m.x - last.x < near) last.count += 1;
    else out.push({ ...m, count: 1 });
  }
  return out.map((g) => ({ x: g.x, title: g.count > 1 ? `${g.count} changes` : g.title }));
}

/** Where an observation is drawn; null when it is outside. */
export function pointAt(u: uPlot, p: ChartPoint, canvas: boolean): { x: number; y: number } | null {
  const x = u.valToPos(p.time / 1000, 'x', canvas);
  const y = p.value === null ? u.valToPos(u.scales.y!.min ?? 0, 'y', canvas) - 4 : u.valToPos(p.value, 'y', canvas);
  const [left, top] = canvas ? [u.bbox.left, u.bbox.top] : [0, 0];
  const width = canvas ? u.bbox.width : u.over.clientWidth;
  return x < left || x > left + width || y < top ? null : { x, y };
}

export function drawBands(u: uPlot, bands: Band[]) {
  const { ctx, bbox } = u;
  ctx.save();
  for (const band of bands) {
    const from = Math.max(bbox.left, u.valToPos(band.from / 1000, 'x', true));
    const to = Math.min(bbox.left + bbox.width, u.valToPos(band.to / 1000, 'x', true));
    if (to <= from) continue;
    ctx.fillStyle = css(band.mild ? '--info' : '--crit');
    ctx.globalAlpha = 0.09;
    ctx.fillRect(from, bbox.top, to - from, bbox.height);
    ctx.globalAlpha = 1;
    ctx.font = `${11 * devicePixelRatio}px "Inter Variable", sans-serif`;
    ctx.textAlign = 'left';
    if (to - from > ctx.measureText(band.title).width + 12) ctx.fillText(`${band.mild ? '●' : '✕'} ${band.title}`, from + 4 * devicePixelRatio, bbox.top + bbox.height - 6 * devicePixelRatio);
  }
  ctx.restore();
}

export function drawMarks(u: uPlot, { markers, thresholds, points, unit }: { markers: Marker[]; thresholds: Threshold[]; points: ChartPoint[]; unit: Unit }) {
  const ratio = devicePixelRatio;
  const { ctx, bbox } = u;
  ctx.save();
  ctx.font = `${11 * ratio}px "Inter Variable", sans-serif`;
  for (const threshold of thresholds) {
    const y = u.valToPos(threshold.value, 'y', true);
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    const colour = css(threshold.tone === 'ok' ? '--ok' : threshold.tone === 'warning' ? '--warn' : '--crit');
    ctx.strokeStyle = colour;
    ctx.setLineDash([6 * ratio, 4 * ratio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.fillStyle = colour;
    ctx.textAlign = 'left';
    ctx.fillText(`${threshold.name} ${withUnit(threshold.value, unit)}`, bbox.left + 6 * ratio, y - 5 * ratio);
  }
  ctx.setLineDash([2 * ratio, 3 * ratio]);
  const seen = markers.map((m) => ({ x: u.valToPos(millis(m.time) / 1000, 'x', true), title: m.title })).filter((m) => m.x >= bbox.left && m.x <= bbox.left + bbox.width);
  for (const m of merged(seen, MERGE_PX * ratio)) {
    ctx.strokeStyle = ctx.fillStyle = css('--text-2');
    ctx.beginPath();
    ctx.moveTo(m.x, bbox.top);
    ctx.lineTo(m.x, bbox.top + bbox.height);
    ctx.stroke();
    const flip = m.x > bbox.left + bbox.width * 0.85;
    ctx.textAlign = flip ? 'right' : 'left';
    ctx.fillText(flip ? `${m.title} ▼` : `▼ ${m.title}`, m.x + (flip ? 4 : -4) * ratio, bbox.top - 3 * ratio);
  }
  ctx.setLineDash([]);
  for (const p of points) {
    const at = pointAt(u, p, true);
    if (!at) continue;
    ctx.fillStyle = p.error ? css('--crit') : css('--text-3');
    ctx.beginPath();
    ctx.arc(at.x, at.y, 2.6 * ratio, 0, Math.PI * 2);
    ctx.fill();
  }
  ctx.restore();
}
