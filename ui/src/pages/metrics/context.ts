/** What stands around a metric: exemplars, changes, alerts that fired. */
import { useNavigate } from '@tanstack/react-router';
import { useCallback, useMemo } from 'react';
import { useAlerts, useEvents, useRanged } from '../../api/hooks';
import type { Band, ChartPoint } from '../../charts/TimeChart';
import { useRange } from '../../app/context';
import { millis } from '../../lib/time';

interface Exemplars { data: { seriesLabels: Record<string, string>; exemplars: { labels: Record<string, string>; value: string; timestamp: number }[] }[] }

/** Most points drawn. */
const POINTS_MAX = 300;

/** Exemplars with a trace. Their values are only drawn where the chart shows such values; else they stand on the axis. */
export function useExemplars(expr: string, enabled = true) {
  const { bounds } = useRange();
  const exemplars = useRanged<Exemplars>('/api/v1/query_exemplars', { query: expr, start: Math.floor(bounds.from / 1000), end: Math.ceil(bounds.to / 1000) }, enabled && expr !== '');
  const navigate = useNavigate();
  const points = useMemo<ChartPoint[]>(() => {
    const comparable = /\bhistogram_(quantile|avg)\b|_sum\b[^/]*\/.*_count\b/s.test(expr);
    const traced = (exemplars.data?.data ?? []).flatMap((s) => s.exemplars).filter((e) => e.labels.trace_id);
    // Of too many keep those that are spread over the range, newest included.
    const every = Math.ceil(traced.length / POINTS_MAX) || 1;
    return traced.sort((a, b) => b.timestamp - a.timestamp).filter((_, i) => i % every === 0).map((e) => ({ time: e.timestamp * 1000, value: comparable ? Number(e.value) : null, label: e.labels.trace_id! }));
  }, [exemplars.data, expr]);
  const open = useCallback((p: ChartPoint) => void navigate({ to: `/traces/${p.label}` as never, search: ((s: Record<string, unknown>) => ({ env: s.env, from: s.from, to: s.to })) as never }), [navigate]);
  return { points, open };
}

/** Deploys and other changes as lines; alerts that fired as shaded stretches. Of one service, or of all. */
export function useSurroundings(service: string | undefined) {
  const { bounds } = useRange();
  const events = useEvents(service);
  const alerts = useAlerts();
  const markers = useMemo(() => (events.data?.events ?? []).filter((e) => e.kind !== 'incident'), [events.data]);
  const bands = useMemo<Band[]>(() => {
    const fired = (alerts.data?.alerts ?? []).filter((a) => a.fired_at && (!service || a.service === service)).map((a) => ({ from: millis(a.fired_at!), to: a.resolved_at ? millis(a.resolved_at) : bounds.to, title: a.name }));
    const incidents = (events.data?.events ?? []).filter((e) => e.kind === 'incident').map((e) => ({ from: millis(e.time), to: e.end ? millis(e.end) : bounds.to, title: e.title }));
    return [...fired, ...incidents].filter((b) => b.to > bounds.from && b.from < bounds.to);
  }, [alerts.data, events.data, service, bounds.from, bounds.to]);
  return { markers, bands };
}
