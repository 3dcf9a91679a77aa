/** A panel: asked for when it comes into sight, shown as its kind asks for. */
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { get } from '../../api/client';
import type { DashboardLink, LogRow, Marker, PanelData, PanelSpec, SeriesFrame, TraceSummary } from '../../api/types';
import { usePreferences, useRange, useTick } from '../../app/context';
import { Heatmap } from '../../charts/Heatmap';
import { TimeChart, type Band } from '../../charts/TimeChart';
import { ErrorBox } from '../../components/Async';
import { Link } from '../../components/Link';
import { formatted, unitNamed } from '../../lib/dashboards';
import { nanoseconds } from '../../lib/format';
import { plain } from '../../lib/text';
import { clock, millis } from '../../lib/time';
import { Bars, Cells, Gauge, Stat } from './Numbers';

/** Height of a row of the grid and the gap below it, pixels. */
export const ROW = 34;
export const GAP = 10;
/** What header and legend of a chart take. */
const AROUND = 84;

/** True once the element has come near the window: what nobody looks at is not asked for. */
function useSeen() {
  const host = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    if (seen || !host.current) return;
    const observer = new IntersectionObserver((entries) => { if (entries.some((e) => e.isIntersecting)) setSeen(true); }, { rootMargin: '400px' });
    observer.observe(host.current);
    return () => observer.disconnect();
  }, [seen]);
  return { host, seen };
}

export interface PanelProps { dashboard: string; id: string; spec: PanelSpec; query: string; rows: number; markers: Marker[]; bands: Band[] }

export function Panel({ dashboard, id, spec, query, rows, markers, bands }: PanelProps) {
  const { params } = useRange();
  const tick = useTick();
  const { host, seen } = useSeen();
  const range = new URLSearchParams(Object.entries({ from: params.from, to: params.to }));
  const base = `/v1/dashboards/${encodeURIComponent(dashboard)}/panels/${encodeURIComponent(id)}`;
  const search = `${range.toString()}${query ? `&${query}` : ''}`;
  const answer = useQuery<PanelData>({ queryKey: [base, search, tick], queryFn: ({ signal }) => get(`${base}?${search}`, signal), placeholderData: keepPreviousData, enabled: seen });
  const height = rows * ROW + (rows - 1) * GAP;
  const title = answer.data?.title ?? spec.display?.name ?? id;
  const picture = !['Table', 'LogsTable', 'TraceTable', 'Markdown'].includes(spec.plugin.kind);
  const actions = (
    <>
      {(answer.data?.links ?? []).map((l) => <OneLink key={l.url} link={l} />)}
      {answer.data?.queries[0] && picture ? <Link to="/explore/metrics" search={{ expr: answer.data.queries[0], mode: 'promql' }}>Explore</Link> : null}
      {picture ? <a href={`${base}.png?${search}&scale=2`} target="_blank" rel="noreferrer" title="This panel as a picture: the address works in messages and runbooks; .svg in its place as well">PNG</a> : null}
    </>
  );
  return (
    <div ref={host} className="dash-panel" data-panel={id} aria-busy={seen && answer.data === undefined && !answer.isError ? true : undefined}>
      {answer.isFetching ? <div className="progress" aria-hidden /> : null}
      {answer.isError && !answer.isPlaceholderData ? <Frame title={title}><ErrorBox error={answer.error} onRetry={() => void answer.refetch()} /></Frame>
        : answer.data ? <Body data={answer.data} spec={spec} title={title} height={height} actions={actions} markers={markers} bands={bands} />
        : <Frame title={title}><div className="skeletons"><div className="skeleton" /></div></Frame>}
    </div>
  );
}

function Frame({ title, about, actions, notes, children }: { title: string; about?: string | undefined; actions?: React.ReactNode; notes?: string[]; children: React.ReactNode }) {
  return (
    <section className="panel" aria-label={title}>
      {title || actions ? <header><span title={about}>{title}</span>{notes?.length ? <span className="t-warn" title={notes.join('\n')}>▲ {notes.length}</span> : null}<span className="sp" />{actions}</header> : null}
      <div className="dash-body">{children}</div>
    </section>
  );
}

function OneLink({ link }: { link: DashboardLink }) {
  const name = link.name || link.url;
  const target = link.targetBlank ? { target: '_blank', rel: 'noreferrer' } : {};
  if (!link.url.startsWith('/')) return <a href={link.url} rel="noreferrer" {...target}>{name}</a>;
  const [to, search] = link.url.split('?');
  return link.targetBlank ? <a href={link.url} {...target}>{name}</a> : <Link to={to!} search={Object.fromEntries(new URLSearchParams(search))}>{name}</Link>;
}

function Body({ data, spec, title, height, actions, markers, bands }: { data: PanelData; spec: PanelSpec; title: string; height: number; actions: React.ReactNode; markers: Marker[]; bands: Band[] }) {
  const chart = useMemo(() => spec.plugin.spec ?? {}, [spec]);
  const format = chart.yAxis?.format ?? chart.format;
  const { unit, factor } = unitNamed(format?.unit);
  const frame = useMemo<SeriesFrame | null>(() => (data.frame ? (factor === 1 ? data.frame : { ...data.frame, series: data.frame.series.map((s) => ({ ...s, values: s.values.map((v) => (v === null ? null : v * factor)) })) }) : null), [data.frame, factor]);
  const thresholds = useMemo(() => (chart.thresholds?.steps ?? []).map((t) => ({ value: t.value * factor, name: t.name ?? 'limit', ...(t.color === 'orange' ? { tone: 'warning' as const } : t.color === 'green' ? { tone: 'ok' as const } : {}) })), [chart, factor]);
  const bound = useCallback((v: number) => formatted(v, chart.yAxisFormat), [chart]);
  // A legend that is a table takes the place of up to four of its rows.
  const rows = chart.legend?.values?.length && (data.frame?.series.length ?? 0) > 1 ? Math.min(4, data.frame!.series.length) : 0;
  const around = AROUND + (rows ? rows * 21 - 6 : 0);
  const frameProps = { title, about: spec.display?.description, actions, notes: data.notes };
  if (['StatChart', 'GaugeChart', 'BarChart'].includes(data.kind) && !data.readings?.length) return <Frame {...frameProps}><div className="empty">No data in this range</div></Frame>;
  switch (data.kind) {
    case 'TimeSeriesChart':
      return frame ? (
        <TimeChart title={title} unit={unit} frame={frame} height={Math.max(90, height - around)} stack={chart.visual?.stack !== undefined} bars={chart.visual?.display === 'bar'} {...(chart.legend?.values?.length ? { legendValues: chart.legend.values } : {})} thresholds={thresholds} markers={markers} bands={bands} legend={chart.legend?.position !== 'none'}
          {...(chart.yAxis?.max !== undefined ? { max: chart.yAxis.max * factor } : unit === 'ratio' ? { max: 0.01 } : {})} actions={<>{data.notes.length ? <span className="t-warn" title={data.notes.join('\n')} aria-label={data.notes.join('; ')} role="note">▲ {data.notes.length}</span> : null}{actions}</>} />
      ) : null;
    case 'HeatMapChart': return <Heatmap data={data.heatmap!} title={title} height={Math.max(90, height - AROUND)} format={bound} actions={actions} />;
    case 'StatChart': return <Frame {...frameProps}><Stat data={data} spec={chart} /></Frame>;
    case 'GaugeChart': return <Frame {...frameProps}><Gauge data={data} spec={chart} /></Frame>;
    case 'BarChart': return <Frame {...frameProps}><Bars data={data} spec={chart} /></Frame>;
    case 'Table': return <Frame {...frameProps}>{data.table?.rows.length ? <Cells data={data} /> : <div className="empty">No data in this range</div>}</Frame>;
    case 'LogsTable': return <Frame {...frameProps}>{data.logs?.length ? <Logs rows={data.logs} /> : <div className="empty">No record matches in this range</div>}</Frame>;
    case 'TraceTable': return <Frame {...frameProps}>{data.traces?.length ? <Traces rows={data.traces} /> : <div className="empty">No trace matches in this range</div>}</Frame>;
    default: return <Frame {...frameProps}><Prose html={data.html ?? ''} /></Frame>;
  }
}

/** The server has sanitised this HTML: only text structure and links, no scripts, no styles, no handlers. */
function Prose({ html }: { html: string }) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => { if (host.current) host.current.innerHTML = html; }, [html]);
  return <div className="prose" ref={host} />;
}

const level = (n: number): string => (n >= 17 ? 'ERROR' : n >= 13 ? 'WARN' : n >= 9 ? 'INFO' : 'DEBUG');

function Logs({ rows }: { rows: LogRow[] }) {
  const { zone } = usePreferences();
  return (
    <table className="dense rows"><tbody>{rows.map((r) => (
      <tr key={r.id}>
        <td className="mono nowrap">{clock(millis(r.time), zone, true)}</td><td className={`mono ${r.severity_number >= 17 ? 't-crit' : r.severity_number >= 13 ? 't-warn' : 'sub'}`}>{level(r.severity_number)}</td>
        <td className="sub">{r.service_name}</td><td className="mono expr">{plain(r.body, 300)}</td>
        <td className="nowrap">{r.trace_id ? <Link to={`/traces/${r.trace_id}`}>trace</Link> : null}</td>
      </tr>
    ))}</tbody></table>
  );
}

function Traces({ rows }: { rows: TraceSummary[] }) {
  const { zone } = usePreferences();
  return (
    <table className="dense rows"><tbody>{rows.map((t) => (
      <tr key={t.trace_id}>
        <td className="mono nowrap">{clock(millis(t.start), zone)}</td><td><Link to={`/traces/${t.trace_id}`}>{t.root_name || t.trace_id.slice(0, 8)}</Link> <span className="sub">{t.root_service}</span></td>
        <td className="r num">{nanoseconds(t.duration)}</td><td className="r">{t.errors ? <span className="t-crit">✕ {t.errors}</span> : null}</td>
      </tr>
    ))}</tbody></table>
  );
}
