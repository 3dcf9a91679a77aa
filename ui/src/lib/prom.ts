/** Prometheus' answers as frames. */
import type { SeriesFrame } from '../api/types';
import { nanos } from './time';

export interface PromMatrix {
  status: string;
  data: { resultType: string; result: { metric: Record<string, string>; values?: [number, string][]; value?: [number, string] }[]; stats?: { elapsed_ms: number; samples: number; series: number; rows_scanned: number; bytes_scanned: number; files: number; files_pruned: number } };
  warnings?: string[];
  infos?: string[];
}

/** A step that gives about 240 points, in whole seconds. */
export function stepFor(bounds: { from: number; to: number }): number {
  const wanted = (bounds.to - bounds.from) / 1000 / 240;
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400];
  return steps.find((s) => s >= wanted) ?? 86_400;
}

/** Parameters of a range query on a grid that does not move with every refresh. */
export function promRange(query: string, bounds: { from: number; to: number }): Record<string, string | number> {
  const step = stepFor(bounds);
  const start = Math.ceil(bounds.from / 1000 / step) * step;
  const end = Math.max(start, Math.floor(bounds.to / 1000 / step) * step);
  return { query, start, end, step, stats: 'all' };
}

export function matrixFrame(answer: PromMatrix, bounds: { from: number; to: number }): SeriesFrame {
  const step = stepFor(bounds);
  const start = Math.ceil(bounds.from / 1000 / step) * step;
  const end = Math.max(start, Math.floor(bounds.to / 1000 / step) * step);
  const length = Math.round((end - start) / step) + 1;
  const series = answer.data.result.map((r) => {
    const values: (number | null)[] = new Array<number | null>(length).fill(null);
    for (const [time, text] of r.values ?? []) {
      const at = Math.round((time - start) / step);
      const value = Number(text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : text);
      if (at >= 0 && at < length && Number.isFinite(value)) values[at] = value;
    }
    return { name: '', labels: r.metric, values };
  });
  return { start: nanos(start * 1000), step: nanos(step * 1000), series };
}
