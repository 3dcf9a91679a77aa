/** Queries of the pages. Keys hold the URL and the tick, so that live pages ask anew and keep the previous answer. */
import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useRange } from '../app/context';
import { get, path, post, send, type Query } from './client';
import type * as T from './types';

/** A read that follows range, environment and live mode. */
export function useRanged<R>(base: string, query: Query = {}, enabled = true) {
  const { params, tick } = useRange();
  const url = path(base, { ...params, ...query });
  return useQuery<R>({ queryKey: [url, tick], queryFn: ({ signal }) => get<R>(url, signal), placeholderData: keepPreviousData, enabled });
}

/** A read that does not depend on the range. */
export function useGet<R>(base: string, query: Query = {}, options: { refetch?: number; enabled?: boolean } = {}) {
  const url = path(base, query);
  return useQuery<R>({
    queryKey: [url],
    queryFn: ({ signal }) => get<R>(url, signal),
    placeholderData: keepPreviousData,
    refetchInterval: options.refetch ?? false,
    enabled: options.enabled ?? true,
  });
}

const OFTEN = 5_000;

export const useStatus = () => useGet<T.Status>('/v1/status', {}, { refetch: OFTEN });
export const useAlerts = () => useGet<T.AlertsResponse>('/v1/alerts', {}, { refetch: OFTEN });
export const useAlert = (fingerprint: string) => useGet<T.AlertDetail>(`/v1/alerts/${fingerprint}`, {}, { refetch: OFTEN });
export const useRules = () => useGet<T.RulesResponse>('/v1/rules', {}, { refetch: OFTEN });
export const useServices = (q?: string) => useRanged<T.ServicesResponse>('/v1/services', { q });
export const useService = (name: string) => useRanged<T.ServiceDetail>(`/v1/services/${encodeURIComponent(name)}`);
export const useGolden = (name: string) => useRanged<T.GoldenSignals>(`/v1/services/${encodeURIComponent(name)}/golden`);
export const useCapacity = (name: string) => useGet<T.CapacityNote>(`/v1/capacity/${encodeURIComponent(name)}`);
export const useLogs = (q: string, limit = 500) => useRanged<T.LogsResponse>('/v1/logs', { q, limit });
export const useLogHistogram = (q: string) => useRanged<T.LogHistogram>('/v1/logs/histogram', { q, buckets: 72 });
export const useLogFacets = (q: string) => useRanged<T.LogFacets>('/v1/logs/facets', { q });
export const useTraces = (q: string) => useRanged<T.TracesResponse>('/v1/traces', { q, limit: 100 });
export const useTrace = (id: string) => useGet<T.TraceDetail>(`/v1/traces/${id}`);
export const useTraceLogs = (id: string, enabled: boolean) => useGet<T.LogsResponse>(`/v1/traces/${id}/logs`, {}, { enabled });
export const useMetrics = (query: Query) => useRanged<T.MetricsResponse>('/v1/metrics', query);
export const useMetric = (name: string, service?: string) => useRanged<T.MetricDetail>(`/v1/metrics/${encodeURIComponent(name)}`, { service }, name !== '');
export const useExplain = (query: string, step: number) => useRanged<T.Explanation>('/v1/promql/explain', { query, step });
export const useEvents = (service?: string) => useRanged<{ events: T.Marker[] }>('/v1/events', { service });
export const useDashboards = () => useRanged<{ dashboards: T.DashboardLine[] }>('/v1/dashboards');
export const useDashboardVersions = (name: string) => useGet<T.DashboardVersions>(`/v1/dashboards/${encodeURIComponent(name)}/versions`);
export const useDashboardDiff = (name: string, before: number, after: number) => useGet<T.DashboardDiff>(`/v1/dashboards/${encodeURIComponent(name)}/diff`, { before, after }, { enabled: before > 0 && after > 0 });
export const useSlos = () => useGet<T.SlosResponse>('/v1/slos', {}, { refetch: OFTEN });
export const useSlo = (id: string) => useRanged<T.SloDetail>(`/v1/slos/${encodeURIComponent(id)}`);
export const useRunbooks = (q?: string) => useGet<T.RunbooksResponse>('/v1/runbooks', { q });
export const useRunbook = (id: string, alert?: string) => useGet<T.RunbookDetail>(`/v1/runbooks/${encodeURIComponent(id)}`, { alert });
export const useRun = (id: string | null) => useGet<T.Run>(`/v1/runs/${id ?? ''}`, {}, { enabled: id !== null, refetch: 2_000 });
export const useDrills = () => useGet<T.DrillsResponse>('/v1/drills', {}, { refetch: OFTEN });
export const useDrill = (id: string) => useGet<T.DrillReport>(`/v1/drills/${id}`, {}, { refetch: 2_000 });

/** What is odd about a rule file. Null while it is still being typed: a request that runs is stopped then. */
export const useLint = (rules: string | null) =>
  useQuery<T.RuleLint>({ queryKey: ['lint', rules], queryFn: ({ signal }) => post<T.RuleLint>('/v1/rules/lint', { rules }, 'POST', signal), placeholderData: keepPreviousData, enabled: rules !== null && rules.trim() !== '' });

/** What rules would have done from one time to another. As [`useLint`]. */
export const useBacktest = (rules: string | null, range: { from: string; to: string }) =>
  useQuery<T.Backtest>({ queryKey: ['backtest', rules, range.from, range.to], queryFn: ({ signal }) => post<T.Backtest>('/v1/rules/backtest', { rules, from: range.from, to: range.to }, 'POST', signal), placeholderData: keepPreviousData, enabled: rules !== null && rules.trim() !== '', retry: false });

/** A change; reads are refreshed after it. */
export function useChange<V, R>(call: (value: V) => Promise<R>) {
  const client = useQueryClient();
  return useMutation<R, Error, V>({ mutationFn: call, onSettled: () => void client.invalidateQueries() });
}

export const restoreDashboard = (name: string, version: number) => post<T.DashboardStored>(`/v1/dashboards/${encodeURIComponent(name)}/restore`, { version });
export const deleteDashboard = (name: string) => post<T.DashboardStored>(`/v1/dashboards/${encodeURIComponent(name)}`, {}, 'DELETE');
export const putDashboard = (name: string, text: string, query: Query = {}) => send<T.DashboardStored>(path(`/v1/dashboards/${encodeURIComponent(name)}`, query), text, 'PUT');
export const importDashboard = (text: string, save: boolean) => send<T.DashboardImport>(path('/v1/dashboards/import', { save: save ? 'true' : undefined }), text);
export const startRun = (runbook: string, alert?: string) => post<T.Run>(`/v1/runbooks/${encodeURIComponent(runbook)}/runs`, alert ? { alert } : {});
export const runStep = (run: string, step: string, body: { confirm?: string; dry_run?: boolean }) => post<T.StepResult>(`/v1/runs/${run}/steps/${step}`, body);
export const startDrill = (scenario: string) => post<T.DrillSummary>('/v1/drills', { scenario });
export const login = (key: string) => post<void>('/v1/login', { key });
export const sql = (query: string) => post<T.SqlResult>('/v1/sql', { query });
