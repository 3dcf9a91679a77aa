/** Panels that show single numbers: large ones, gauges, bars, tables. */
import type { ChartSpec, Format, PanelData, Reading } from '../../api/types';
import { Spark } from '../../components/Spark';
import { formatted } from '../../lib/dashboards';

/** What is wrong with a number, in glyph, word and colour. */
const WRONG: Record<string, { cls: string; glyph: string; colour: string }> = { critical: { cls: 't-crit', glyph: '✕', colour: 'var(--crit)' }, warning: { cls: 't-warn', glyph: '▲', colour: 'var(--warn)' } };
const shown = (r: Reading, format: Format | undefined): string => r.text ?? formatted(r.value, format);

/** Below a number: what is wrong with it, else its name where there are several. */
function Below({ reading, several, otherwise = '\u00a0' }: { reading: Reading; several: boolean; otherwise?: string }) {
  const wrong = reading.tone ? WRONG[reading.tone] : undefined;
  if (wrong) return <div className="sub">{several ? `${reading.name} ` : ''}<span className={wrong.cls}>{wrong.glyph} {reading.says ?? reading.tone}</span></div>;
  return <div className="sub">{several ? reading.name : otherwise}</div>;
}

export function Stat({ data, spec }: { data: PanelData; spec: ChartSpec }) {
  return (
    <div className="stats">
      {data.readings!.slice(0, 24).map((r, i) => {
        return (
          <div key={i} className="stat">
            <div className={`v ${WRONG[r.tone ?? '']?.cls ?? ''}`}>{shown(r, spec.format)}</div>
            <Below reading={r} several={data.readings!.length > 1} />
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
        const wrong = WRONG[r.tone ?? ''];
        const share = r.value === null ? 0 : Math.min(1, Math.max(0, r.value / end));
        return (
          <div key={i} className="stat">
            <svg viewBox="0 0 120 68" className="gauge" role="img" aria-label={`${r.name}: ${formatted(r.value, spec.format)} of ${formatted(end, spec.format)}${wrong ? `, ${r.says ?? r.tone!}` : ''}`}>
              <path d={arc(0, 1)} fill="none" stroke="var(--surface-2)" strokeWidth="10" />
              {share > 0 ? <path d={arc(0, share)} fill="none" stroke={wrong?.colour ?? 'var(--ok)'} strokeWidth="10" /> : null}
              {limits.filter((l) => l > 0 && l < end).map((l) => <path key={l} d={arc(Math.max(0, l / end - 0.008), Math.min(1, l / end + 0.008))} fill="none" stroke="var(--crit)" strokeWidth="14" />)}
              <text x="60" y="58" textAnchor="middle" className="gauge-value" fill="var(--text)">{shown(r, spec.format)}</text>
            </svg>
            <Below reading={r} several={data.readings!.length > 1} otherwise={`of ${formatted(end, spec.format)}`} />
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
        <td className="track"><div aria-hidden style={{ ...(WRONG[r.tone ?? ''] ? { background: WRONG[r.tone!]!.colour } : {}), width: `${Math.max(0, Math.min(100, ((r.value ?? 0) / most) * 100))}%` }} /></td>
        <td className="r num" title={r.says}>{WRONG[r.tone ?? ''] ? <span className={WRONG[r.tone!]!.cls}>{WRONG[r.tone!]!.glyph} </span> : null}{shown(r, format)}</td>
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
