/** Panels that show single numbers: large ones, gauges, bars, tables. */
import type { ChartSpec, Format, PanelData } from '../../api/types';
import { Spark } from '../../components/Spark';
import { formatted } from '../../lib/dashboards';

/** The highest limit that a value has passed: in words, because colour alone says nothing. */
export function passed(spec: ChartSpec, value: number | null): string | null {
  const step = [...(spec.thresholds?.steps ?? [])].reverse().find((t) => value !== null && value >= t.value);
  return step ? `over ${step.name ?? formatted(step.value, spec.format)}` : null;
}

export function Stat({ data, spec }: { data: PanelData; spec: ChartSpec }) {
  return (
    <div className="stats">
      {data.readings!.slice(0, 24).map((r, i) => {
        const over = passed(spec, r.value);
        return (
          <div key={i} className="stat">
            <div className={`v ${over ? 't-crit' : ''}`}>{formatted(r.value, spec.format)}</div>
            <div className="sub">{over ? <span className="t-crit">✕ {over}</span> : data.readings!.length > 1 ? r.name : '\u00a0'}</div>
            {spec.sparkline && data.frame?.series[i] ? <Spark values={data.frame.series[i]!.values} label={`course of ${r.name}`} width={180} height={34} /> : null}
          </div>
        );
      })}
    </div>
  );
}

const END: Record<string, number> = { 'percent-decimal': 1, percent: 100, '%': 100 };

export function Gauge({ data, spec }: { data: PanelData; spec: ChartSpec }) {
  const limits = (spec.thresholds?.steps ?? []).map((t) => t.value);
  const end = spec.max ?? END[spec.format?.unit ?? ''] ?? (Math.max(0, ...limits, ...data.readings!.map((r) => r.value ?? 0)) || 1);
  const point = (share: number): [number, number] => [60 + 48 * Math.cos(Math.PI * (1 - share)), 60 - 48 * Math.sin(Math.PI * (1 - share))];
  const arc = (from: number, to: number) => { const [a, b] = [point(from), point(to)]; return `M${a[0].toFixed(1)} ${a[1].toFixed(1)}A48 48 0 0 1 ${b[0].toFixed(1)} ${b[1].toFixed(1)}`; };
  return (
    <div className="stats">
      {data.readings!.slice(0, 12).map((r, i) => {
        const over = passed(spec, r.value);
        const share = r.value === null ? 0 : Math.min(1, Math.max(0, r.value / end));
        return (
          <div key={i} className="stat">
            <svg viewBox="0 0 120 68" className="gauge" role="img" aria-label={`${r.name}: ${formatted(r.value, spec.format)} of ${formatted(end, spec.format)}${over ? `, ${over}` : ''}`}>
              <path d={arc(0, 1)} fill="none" stroke="var(--surface-2)" strokeWidth="10" />
              {share > 0 ? <path d={arc(0, share)} fill="none" stroke={over ? 'var(--crit)' : 'var(--ok)'} strokeWidth="10" /> : null}
              {limits.filter((l) => l > 0 && l < end).map((l) => <path key={l} d={arc(Math.max(0, l / end - 0.008), Math.min(1, l / end + 0.008))} fill="none" stroke="var(--crit)" strokeWidth="14" />)}
              <text x="60" y="58" textAnchor="middle" className="gauge-value" fill="var(--text)">{formatted(r.value, spec.format)}</text>
            </svg>
            <div className="sub">{over ? <span className="t-crit">✕ {over}</span> : data.readings!.length > 1 ? r.name : `of ${formatted(end, spec.format)}`}</div>
          </div>
        );
      })}
    </div>
  );
}

export function Bars({ data, spec }: { data: PanelData; spec: ChartSpec }) {
  const most = Math.max(1e-12, ...data.readings!.map((r) => r.value ?? 0));
  const format: Format | undefined = spec.mode === 'percentage' ? { unit: 'percent' } : spec.format;
  return (
    <table className="dense bars"><tbody>{data.readings!.slice(0, 100).map((r, i) => (
      <tr key={i}>
        <td className="name" title={r.name}>{r.name}</td>
        <td className="track"><div aria-hidden style={{ width: `${Math.max(0, Math.min(100, ((r.value ?? 0) / most) * 100))}%` }} /></td>
        <td className="r num">{formatted(r.value, format)}</td>
      </tr>
    ))}</tbody></table>
  );
}

export function Cells({ data }: { data: PanelData }) {
  const table = data.table!;
  return (
    <table className="dense rows">
      <thead><tr>{table.columns.map((c) => <th key={c.name} className={c.name.startsWith('value') ? 'r' : ''}>{c.title}</th>)}</tr></thead>
      <tbody>{table.rows.map((row, i) => (
        <tr key={i}>{row.map((cell, j) => {
          const column = table.columns[j]!;
          const isValue = column.name.startsWith('value');
          return <td key={column.name} className={isValue ? 'r num' : 'mono expr'}>{isValue ? formatted(typeof cell === 'number' ? cell : null, { unit: column.unit, ...(column.decimals === null ? {} : { decimalPlaces: column.decimals }) }) : (cell ?? '')}</td>;
        })}</tr>
      ))}</tbody>
    </table>
  );
}
