/**
 * The server's own API under /v1, as the pages use it. Times are Unix nanoseconds as decimal text (`Nanos`) unless
 * a name says otherwise; durations are nanoseconds as numbers. Query parameters `from` and `to` take Unix
 * nanoseconds, RFC 3339, or `now`, `now-3h`, `-3h`. Errors are `ApiError` with the status of the response.
 */

export type Nanos = string;
export type Attributes = Record<string, unknown>;

export interface ApiError {
  error: { code: string; message: string; /** byte range in the query text */ at?: { start: number; end: number }; request_id: string };
}

/** What a query has cost; every result carries it. */
export interface QueryStats {
  elapsed_ms: number;
  rows_scanned: number;
  bytes_scanned: number;
  samples: number;
  series: number;
  files: number;
  files_pruned: number;
  /** rows that are figures of an hour in place of its samples */
  rollup_rows?: number;
  truncated?: boolean;
}

/** Columnar series: value i is at start + i*step; null is a gap. */
export interface SeriesFrame {
  start: Nanos;
  step: Nanos;
  series: { name: string; labels: Record<string, string>; values: (number | null)[] }[];
}

// GET /v1/status
export interface Status {
  version: string;
  started: Nanos;
  now: Nanos;
  /** addresses in use, for copyable configuration */
  addresses: { http: string; otlp_http: string | null; otlp_grpc: string | null };
  /** whether changes need a key on this server (false with --insecure) */
  auth_required: boolean;
  signals: Record<'logs' | 'traces' | 'metrics', { rows_total: number; rows_per_second: number; rejected_total: number; last_received: Nanos | null; head_rows: number; head_bytes: number; files: number; file_bytes: number; file_rows: number }>;
  wal: { bytes: number; segments: number; oldest: Nanos | null; writable: boolean; error: string | null };
  evaluation: { last: Nanos | null; lag_seconds: number; rules: number; failing: number };
  environments: string[];
  config: { file: string | null; version: number; loaded: Nanos; problems: ConfigProblem[] };
}
export interface ConfigProblem { file: string; line: number | null; severity: 'error' | 'warning'; message: string }

export type Health = 'ok' | 'warning' | 'critical' | 'unknown';

// GET /v1/services?from&to&env&q
export interface ServicesResponse { services: ServiceSummary[]; stats: QueryStats }
export interface ServiceSummary {
  name: string;
  health: Health;
  /** one short sentence: why this health */
  reason: string;
  owner: string | null;
  version: string | null;
  environments: string[];
  /** server + consumer spans per second; null when the service sends no spans */
  rate: number | null;
  error_ratio: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  /** worst SLO of the service, if any: remaining error budget as a share of 1 (may be negative) */
  budget_remaining: number | null;
  firing: number;
  last_seen: Nanos;
  /** request rate over the range, 30 points, for the sparkline */
  spark: (number | null)[];
}

// GET /v1/services/{name}?from&to&env
export interface ServiceDetail extends ServiceSummary {
  /** two sentences on present health: what is wrong (or that nothing is) and since when, then the most telling fact */
  verdict: [string, string];
  routes: { name: string; kind: string; rate: number; error_ratio: number; p50: number; p95: number; p99: number }[];
  dependencies: { name: string; kind: 'service' | 'database' | 'messaging' | 'cache' | 'external'; direction: 'upstream' | 'downstream'; rate: number; error_ratio: number; p50: number; p95: number; p99: number }[];
  instances: { id: string; version: string | null; last_seen: Nanos }[];
  deploys: Marker[];
  alerts: Alert[];
  slos: SloSummary[];
  runbooks: RunbookSummary[];
  probes: Probe[];
  stats: QueryStats;
}
/** one question asked of one instance, and what the thresholds make of its answers */
export interface Probe {
  probe: 'startup' | 'liveness' | 'readiness';
  instance: string;
  target: string;
  state: 'up' | 'down' | 'unknown';
  since: Nanos | null;
  failures: number;
  failure_threshold: number;
  interval_seconds: number;
  last: { time: Nanos; success: boolean; seconds: number; status_code: number | null; message: string } | null;
}
// GET /v1/services/{name}/golden?from&to&step (ns; optional) -> one frame a signal
export interface GoldenSignals {
  /** series by status class: 2xx.. or ok / error, requests per second */
  traffic: SeriesFrame;
  /** ratio 0..1 */
  errors: SeriesFrame;
  /** p50, p95, p99 in seconds */
  latency: SeriesFrame;
  /** whatever is there: cpu (share of limit), memory, queue depth, pool use; may hold no series */
  saturation: SeriesFrame;
  exemplars: { time: Nanos; seconds: number; trace_id: string; error: boolean }[];
  markers: Marker[];
  stats: QueryStats;
}
export interface Marker { time: Nanos; end: Nanos | null; kind: 'deploy' | 'rollback' | 'flag' | 'config' | 'scale' | 'migration' | 'note' | 'alert' | 'incident'; service: string; title: string; version: string | null; attributes: Attributes }

// GET /v1/metrics?from&to&env&q&service&type&unit&owner&sort
export interface MetricsResponse { metrics: MetricEntry[]; series: number; services: string[]; units: string[]; owners: string[]; stats: QueryStats }
export type MetricType = 'counter' | 'gauge' | 'histogram' | 'gaugehistogram' | 'summary' | 'info' | 'stateset' | 'unknown';
export interface MetricEntry { name: string; type: MetricType; unit: string; help: string; parts: string[]; series: number; services: string[]; owners: string[] }
// GET /v1/metrics/{name}?from&to&env&service
export interface MetricDetail extends MetricEntry { native: boolean; labels: { name: string; distinct: number; values: [string, number][] }[]; stats: QueryStats }
// GET /v1/promql/explain?query&from&to&step
export interface Explanation { query: string; parse_milliseconds: number; stages: { expression: string; depth: number; series: number; samples: number; milliseconds: number; own_milliseconds: number }[]; total_milliseconds: number; series: number; stats: QueryStats }

// GET /v1/cardinality?top
export interface Counted { name: string; count: number }
export interface Cardinality {
  series: number; active_series: number; active_series_max: number; active_series_per_source_max: number; recent_since: Nanos; label_names: number; label_pairs: number;
  metrics: { metric: string; series: number; active_series: number; active_series_max: number; recent_series: number; refused: number; refused_since: Nanos | null; refused_last: Nanos | null; labels: { label: string; values: number; recent_values: number; examples: string[] }[]; sources: Counted[] }[];
  values_by_label: Counted[]; bytes_by_label: Counted[]; series_by_pair: Counted[];
}
// GET /v1/floods?top
export interface Floods {
  limits: { active_series: number; active_series_max: number; active_series_per_metric_max: number; active_series_per_source_max: number };
  floods: Flood[];
  sources: { source: string; agent: string; samples: number; bytes: number; requests: number; last: Nanos; refused_requests: number; refused_bytes: number; limit: string | null; limit_value: number | null; refused_since: Nanos | null; refused_last: Nanos | null; ongoing: boolean }[];
  rejected: { reason: string; samples: number; example: string; since: Nanos; last: Nanos }[];
  recent_since: Nanos;
}
/** a metric of one source whose new series are refused; `label` grows most */
export interface Flood { metric: string; source: string; service: string; owner: string | null; limit: string; limit_value: number; since: Nanos; last: Nanos; ongoing: boolean; refused_series: number; refused_samples: number; series: number; active_series: number; label: string | null; labels: { label: string; values: number; recent_values: number; refused_values: number; examples: string[] }[] }

// GET /v1/dashboards?q
export interface DashboardLine { name: string; title: string; description: string; tags: string[]; source: 'file' | 'stored' | 'built-in'; file: string | null; version: number | null; updated: Nanos | null; panels: number }
/** what the pages need of the document; the rest is only shown as text */
export interface PanelSpec { display?: { name?: string; description?: string }; plugin: { kind: PanelKind; spec?: ChartSpec } }
export type PanelKind = 'TimeSeriesChart' | 'StatChart' | 'GaugeChart' | 'BarChart' | 'Table' | 'HeatMapChart' | 'LogsTable' | 'TraceTable' | 'Markdown';
export interface Format { unit?: string; decimalPlaces?: number }
export interface ChartSpec { format?: Format; yAxisFormat?: Format; yAxis?: { format?: Format; min?: number; max?: number }; thresholds?: { steps?: { value: number; name?: string; color?: string }[] }; visual?: { stack?: string; display?: string }; legend?: { position?: string; mode?: string; values?: string[] }; sparkline?: boolean; max?: number; mode?: string }
export interface DashboardDocument { kind: 'Dashboard'; metadata: { name: string; tags?: string[] }; spec: { display?: { name?: string; description?: string }; duration?: string; panels: Record<string, { spec: PanelSpec }> } & Record<string, unknown> }
export interface DashboardDetail extends DashboardLine { document: DashboardDocument }
// GET /v1/dashboards/{name}/view?from&to&var.NAME
export interface DashboardView { variables: DashboardVariable[]; links: DashboardLink[]; sections: { title: string; open: boolean | null; values: Record<string, string>; items: { x: number; y: number; width: number; height: number; panel: string; values: Record<string, string> }[] }[]; stats: QueryStats }
export interface DashboardVariable { name: string; title: string; kind: 'list' | 'text' | 'constant'; hidden: boolean; multiple: boolean; all: boolean; options: { value: string; label: string }[]; selected: string[]; error: string | null }
export interface DashboardLink { name?: string; url: string; targetBlank?: boolean }
// GET /v1/dashboards/{name}/panels/{panel}?from&to&points&var.NAME
export interface PanelData {
  kind: PanelKind; title: string; links: DashboardLink[]; queries: string[]; notes: string[];
  frame?: SeriesFrame; readings?: Reading[];
  table?: { columns: { name: string; title: string; unit: string; decimals: number | null }[]; rows: (string | number | null)[][] };
  heatmap?: Heatmap; logs?: LogRow[]; traces?: TraceSummary[]; html?: string; stats: QueryStats;
}
export type Tone = 'info' | 'ok' | 'warning' | 'critical';
/** a number; `text` stands in its place, `says` which limit makes it bad */
export interface Reading { name: string; labels: Record<string, string>; value: number | null; text?: string; tone?: Tone; says?: string }
export interface Heatmap { start: Nanos; step: Nanos; bounds: [number | null, number | null][]; cells: (number | null)[][] }
// GET /v1/dashboards/{name}/versions, .../diff?before&after
export interface DashboardVersions { versions: { version: number; at: Nanos; actor: string; message: string; deleted: boolean; panels: number }[] }
export interface DashboardDiff { before: number; after: number; lines: { op: ' ' | '-' | '+'; text: string }[] }
export interface DashboardStored { name: string; version: number | null; findings: { line: number | null; key: string; message: string; severity: string }[] }
// POST /v1/dashboards/import?save
export interface DashboardImport { name: string; version: number | null; document: DashboardDocument; report: { entries: { part: 'panel' | 'variable'; name: string; type: string; outcome: 'converted' | 'approximated' | 'unsupported'; notes: string[] }[]; notes: string[]; converted: number; approximated: number; unsupported: number } }

// GET /v1/logs?q&from&to&limit&after&direction=backward|forward
export interface LogsResponse { rows: LogRow[]; next?: string; stats: QueryStats }
export interface LogRow {
  id: string;
  time: Nanos;
  observed_time: Nanos;
  severity_number: number;
  severity_text: string;
  service_name: string;
  /** at most 2 kB in lists; `body_truncated` says when it was cut: GET /v1/logs/{id} has all of it */
  body: string;
  body_truncated?: boolean;
  trace_id?: string;
  span_id?: string;
  event_name?: string;
  scope_name?: string;
  attributes: Attributes;
  resource: Attributes;
}
// GET /v1/logs/{id}?before&after -> the record in full and the lines around it
export interface LogContext { row: LogRow; before: LogRow[]; after: LogRow[] }
// GET /v1/logs/histogram?q&from&to&buckets -> counts by severity (series name = severity text)
export interface LogHistogram { start: Nanos; step: Nanos; series: [string, number[]][]; stats: QueryStats }
// GET /v1/logs/facets?q&from&to&fields=a,b&limit
export interface LogFacets { facets: { field: string; values: [string, number][]; distinct: number }[]; stats: QueryStats }

// GET /v1/traces?q&from&to&limit
export interface TracesResponse { traces: TraceSummary[]; stats: QueryStats }
export interface TraceSummary { trace_id: string; root_service: string; root_name: string; start: Nanos; duration: number; spans: number; errors: number; services: Record<string, number>; matched: number; matched_spans: string[] }
// GET /v1/traces/{id}; 404 with ApiError when there is none
export interface TraceDetail {
  trace_id: string;
  spans: SpanRow[];
  /** span ids on the critical path with the ns each spends on it, in order of time */
  critical_path: { span_id: string; start: Nanos; duration: number }[];
  /** complete: a root is there and every parent is known; partial: something is missing or still arriving */
  state: 'complete' | 'partial';
  log_count: number;
  stats: QueryStats;
}
export interface SpanRow {
  trace_id: string; span_id: string; parent_span_id?: string; name: string;
  kind: 'unspecified' | 'internal' | 'server' | 'client' | 'producer' | 'consumer';
  service_name: string; start: Nanos; duration: number; status_code: 'unset' | 'ok' | 'error'; status_message?: string; scope_name?: string;
  attributes: Attributes; resource: Attributes;
  events: { time_unix_nano: Nanos; name: string; attributes: Attributes }[];
  links: { trace_id: string; span_id: string; attributes: Attributes }[];
}
// GET /v1/traces/{id}/logs -> LogsResponse, oldest first

// GET /v1/correlate?trace_id= | service=&at= -> links both ways
export interface Correlation { trace: TraceSummary | null; log_count: number; logs_query: string; services: string[]; exemplar_metrics: { metric: string; labels: Record<string, string>; value: number; time: Nanos }[]; deploys: Marker[]; alerts: Alert[]; runbooks: RunbookSummary[] }

// GET /v1/alerts?state=pending,firing,resolved
export interface AlertsResponse { alerts: Alert[]; last_evaluation: Nanos | null; lag_seconds: number }
export interface Alert {
  fingerprint: string;
  name: string;
  state: 'pending' | 'firing' | 'resolved';
  severity: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  value: number | null;
  /** PromQL condition */
  expr: string;
  active_at: Nanos;
  fired_at: Nanos | null;
  resolved_at: Nanos | null;
  service: string | null;
  owner: string | null;
  impact: string | null;
  slo: string | null;
  runbook: RunbookSummary | null;
  source: 'slo' | 'native' | 'prometheus';
  rule: { group: string; name: string; file: string };
  /** what the page contract misses; empty when all is there */
  contract: string[];
  drill: string | null;
  notifications: { receiver: string; channel: string; at: Nanos; status: 'queued' | 'delivered' | 'failed'; attempts: number; error: string | null }[];
}
// GET /v1/alerts/{fingerprint} -> Alert & { history: {time, state, value}[], dashboard/links }
export interface AlertDetail extends Alert { history: { time: Nanos; state: string; value: number | null; text?: string }[]; exemplar_trace: string | null }
// GET /v1/rules
export interface RulesResponse { groups: { name: string; file: string; interval_seconds: number; last_evaluation: Nanos | null; evaluation_seconds: number; rules: { name: string; kind: 'alerting' | 'recording'; expr: string; for_seconds: number; keep_firing_for_seconds: number; labels: Record<string, string>; annotations: Record<string, string>; health: 'ok' | 'err' | 'unknown'; error: string | null; state: 'inactive' | 'pending' | 'firing' | null; contract: string[] }[] }[] }

// POST /v1/rules/lint {rules}
export interface RuleLint { groups: { name: string; interval_seconds: number | null; rules: LintedRule[] }[]; findings: RuleFinding[]; duplicates: { rule: string; times: number }[]; rules: number; errors: number; warnings: number }
export interface LintedRule { name: string; kind: 'alerting' | 'recording'; expr: string; for_seconds: number; keep_firing_for_seconds: number; labels: Record<string, string>; annotations: Record<string, string>; line: number }
export interface RuleFinding { line: number | null; column: number | null; key: string; message: string; nearest: string | null; severity: 'error' | 'warning' }
// POST /v1/rules/backtest {rules, from, to}
export interface Backtest { from: Nanos; to: Nanos; rules: BacktestRule[]; pending: number; fired: number; pages: number; messages: number; truncated: boolean; stats: QueryStats }
export interface BacktestRule { group: string; name: string; kind: 'alerting' | 'recording'; expr: string; for_seconds: number; error: string | null; firing_seconds: number; for_choices: { for_seconds: number; fired: number; pages: number }[]; episodes: Episode[] }
export interface Episode { labels: Record<string, string>; annotations: Record<string, string>; page: boolean; pending_at: Nanos; fired_at: Nanos | null; ended_at: Nanos | null; held_until: Nanos; value: number | null; peak: number | null; messages: { at: Nanos; receiver: string; status: 'firing' | 'resolved' }[] }

// GET /v1/slos
export interface SlosResponse { slos: SloSummary[] }
export interface SloSummary {
  id: string; title: string; service: string; owner: string | null; objective: number; window: string;
  sli: number | null; budget_remaining: number | null; burn_rate_1h: number | null; state: 'ok' | 'burning' | 'exhausted' | 'no_data' | 'provisional' | 'invalid';
  runbook: string | null;
}
// GET /v1/slos/{id}?from&to
export interface SloDetail extends SloSummary {
  description: string;
  impact: string | null;
  /** human form of the indicator: good and total queries */
  indicator: { kind: 'availability' | 'latency' | 'custom'; good: string | null; bad: string | null; total: string };
  good: number; total: number;
  /** burn by alert window */
  windows: { severity: string; long: string; short: string; factor: number; burn_long: number | null; burn_short: number | null; firing: boolean }[];
  budget: SeriesFrame;
  burn: SeriesFrame;
  error_ratio: SeriesFrame;
  alerts: Alert[];
  /** estimated seconds until the budget is gone at the present burn, null when not burning */
  exhaustion_seconds: number | null;
  /** drills of the window: their events are in none of the budget's numbers */
  left_out: { drill: string; from: Nanos; until: Nanos | null; bad: number; total: number }[];
  markers: Marker[];
}

// GET /v1/runbooks?q ; GET /v1/runbooks/{id}?alert={fingerprint}
export interface RunbookSummary { id: string; title: string; service: string | null; owner: string | null; severity: string | null; alerts: string[]; reviewed: string; stale: boolean }
export interface RunbooksResponse { runbooks: RunbookSummary[]; missing: { alert: string; severity: string }[] }
export interface RunbookDetail extends RunbookSummary {
  tags: string[]; slo: string | null;
  /** H2 sections in order; html is sanitised; steps stand where they stood in the text */
  sections: { title: string; html: string; steps: string[] }[];
  steps: RunbookStep[];
  runs: RunSummary[];
}
export interface RunbookStep { id: string; phase: 'verify' | 'mitigate' | 'rollback'; kind: string; title: string; query: string | null; expect: string | null; action: string | null; parameters: Record<string, unknown>; rollback: string | null; timeout_seconds: number; on_true: string | null; on_false: string | null }
export interface RunSummary { id: string; runbook: string; alert: string | null; started: Nanos; actor: string; state: 'open' | 'done'; steps_done: number }
// POST /v1/runbooks/{id}/runs {alert?} -> Run ; GET /v1/runs/{run} -> Run
export interface Run extends RunSummary { results: StepResult[]; suggested: string | null }
// POST /v1/runs/{run}/steps/{step} {confirm?: string (the step id, typed), dry_run?: boolean} -> StepResult ; needs a key for mitigate and rollback
export interface StepResult { step: string; phase: string; at: Nanos; actor: string; verdict: 'true' | 'false' | 'unknown' | 'done' | 'failed' | 'dry_run'; value: string | null; duration_ms: number; message: string; auto: boolean }

// GET /v1/events?from&to&service -> { events: Marker[] } ; POST /v1/events
// GET /v1/drills ; GET /v1/drills/{id}
export interface DrillsResponse { drills: DrillSummary[] }
export interface DrillSummary { id: string; scenario: string; started: Nanos; finished: Nanos | null; outcome: 'running' | 'passed' | 'failed'; time_to_detect_seconds: number | null; time_to_page_seconds: number | null; time_to_mitigate_seconds: number | null; time_to_resolve_seconds: number | null }
export interface DrillReport extends DrillSummary { hops: { name: string; title: string; at: Nanos | null; seconds: number | null; deadline_seconds: number; ok: boolean; evidence: string; link: string | null }[]; alert: string | null; runbook: string | null; trace_id: string | null }

// GET /v1/capacity/{service}
export interface CapacityNote { service: string; at: Nanos; provisional: boolean; rps: { current: number; p50: number; p95: number; peak: number }; p99_seconds: number | null; cpu: { cores: number; limit: number; share: number } | null; model: { slope: number; intercept: number; r2: number; points: number } | null; safe_rps: number | null; headroom: number | null; bottleneck: string | null; notes: string[] }

// POST /v1/sql {query}
export interface SqlResult { columns: { name: string; type: string }[]; rows: unknown[][]; stats: QueryStats }

// GET /v1/search?q= : the palette; alerts firing now first
export interface PaletteResponse { items: { kind: 'alert' | 'service' | 'runbook' | 'slo' | 'trace' | 'drill'; id: string; title: string; subtitle: string; href: string }[] }
