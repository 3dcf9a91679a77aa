/** Who calls the service and whom it calls, one hop each way; the healthy is muted. */
import { useNavigate } from '@tanstack/react-router';
import type { ServiceDetail } from '../../api/types';
import { percent } from '../../lib/format';

const BOX = { w: 104, h: 34, gap: 10 };

export function DependencyMap({ service }: { service: ServiceDetail }) {
  const navigate = useNavigate();
  const up = service.dependencies.filter((d) => d.direction === 'upstream').slice(0, 6);
  const down = service.dependencies.filter((d) => d.direction === 'downstream').slice(0, 8);
  const rows = Math.max(1, up.length, down.length);
  const height = rows * (BOX.h + BOX.gap) + 8;
  const width = 3 * BOX.w + 2 * 34;
  const column = (n: number, i: number) => (height - n * (BOX.h + BOX.gap) + BOX.gap) / 2 + i * (BOX.h + BOX.gap);
  const middle = height / 2 - BOX.h / 2;
  const look = (ratio: number) => (ratio > 0.05 ? { c: 'var(--crit)', g: '✕' } : ratio > 0.01 ? { c: 'var(--warn)', g: '▲' } : { c: 'var(--line-2)', g: '✓' });
  const edge = (x1: number, y1: number, x2: number, y2: number, ratio: number, key: string) => (
    <path key={key} d={`M${x1} ${y1}C${x1 + 17} ${y1} ${x2 - 17} ${y2} ${x2} ${y2}`} fill="none" stroke={look(ratio).c} strokeWidth={ratio > 0.01 ? 2.4 : 1} />
  );
  const box = (x: number, y: number, name: string, ratio: number, to: string | null, key: string, own = false) => {
    const { c, g } = look(ratio);
    const text = name.length > 15 ? `${name.slice(0, 14)}…` : name;
    return (
      <g key={key} transform={`translate(${x} ${y})`} role={to ? 'link' : undefined} tabIndex={to ? 0 : undefined} style={to ? { cursor: 'pointer' } : undefined}
        onClick={() => to && void navigate({ to: to as never, search: ((s: Record<string, unknown>) => ({ env: s.env, from: s.from, to: s.to })) as never })}
        onKeyDown={(e) => { if (to && e.key === 'Enter') void navigate({ to: to as never }); }}>
        <title>{`${name}: ${percent(ratio)} errors`}</title>
        <rect width={BOX.w} height={BOX.h} rx={5} fill="var(--surface-2)" stroke={c} strokeWidth={own || ratio > 0.01 ? 1.6 : 1} />
        <text x={8} y={14} fontSize={11} fontWeight={650} fill="var(--text)">{text}</text>
        <text x={8} y={27} fontSize={10.5} fill={ratio > 0.05 ? 'var(--crit)' : ratio > 0.01 ? 'var(--warn)' : 'var(--text-3)'}>{`${g} ${percent(ratio)} err`}</text>
      </g>
    );
  };
  return (
    <svg viewBox={`0 0 ${width} ${height}`} className="depmap" role="group" aria-label={`${service.name}: called by ${up.map((d) => d.name).join(', ') || 'nobody traced'}; calls ${down.map((d) => `${d.name} (${percent(d.error_ratio)} errors)`).join(', ') || 'nothing traced'}`}>
      {up.map((d, i) => edge(BOX.w, column(up.length, i) + BOX.h / 2, BOX.w + 34, middle + BOX.h / 2, d.error_ratio, `u${d.name}`))}
      {down.map((d, i) => edge(2 * BOX.w + 34, middle + BOX.h / 2, 2 * BOX.w + 68, column(down.length, i) + BOX.h / 2, d.error_ratio, `d${d.name}`))}
      {up.map((d, i) => box(0, column(up.length, i), d.name, d.error_ratio, d.kind === 'service' ? `/services/${encodeURIComponent(d.name)}` : null, `ub${d.name}`))}
      {box(BOX.w + 34, middle, service.name, service.error_ratio ?? 0, null, 'self', true)}
      {down.map((d, i) => box(2 * BOX.w + 68, column(down.length, i), d.name, d.error_ratio, d.kind === 'service' ? `/services/${encodeURIComponent(d.name)}` : null, `db${d.name}`))}
    </svg>
  );
}
