/** One record in full, its neighbours, and ways to go on from any of its values. */
import { Button } from '@mantine/core';
import { useState } from 'react';
import { useGet } from '../../api/hooks';
import type { LogContext, LogRow } from '../../api/types';
import { usePreferences } from '../../app/context';
import { Async } from '../../components/Async';
import { Link } from '../../components/Link';
import { withTerm } from '../../lib/filter';
import { block, plain, show } from '../../lib/text';
import { clock, millis, stamp, zoneName } from '../../lib/time';

export function Drawer({ row, q, onClose, onFilter }: { row: LogRow; q: string; onClose: () => void; onFilter: (q: string) => void }) {
  const { zone } = usePreferences();
  const [around, setAround] = useState(false);
  const context = useGet<LogContext>(`/v1/logs/${encodeURIComponent(row.id)}`, around ? { before: 20, after: 20 } : {});
  const full = context.data?.row ?? row;
  const fields: [string, string, string][] = [
    ['level', 'level', full.severity_text],
    ['service', 'service', full.service_name],
    ...Object.entries(full.attributes).map(([k, v]): [string, string, string] => [k, k, show(v)]),
    ...Object.entries(full.resource).filter(([k]) => k !== 'service.name').map(([k, v]): [string, string, string] => [k, k, show(v)]),
  ];
  if (full.scope_name) fields.push(['scope', 'scope', full.scope_name]);
  if (full.trace_id) fields.push(['trace_id', 'trace_id', full.trace_id]);
  if (full.span_id) fields.push(['span_id', 'span_id', full.span_id]);
  return (
    <div className="log-drawer" role="region" aria-label="Selected line">
      <header>
        <strong>{plain(full.body, 160)}</strong>
        <span className="sub mono">{stamp(millis(full.time), zone)}.{clock(millis(full.time), zone, true).slice(9)} {zoneName(zone)}</span>
        <span className="sp" />
        {full.trace_id ? <Link className="btn primary" to={`/traces/${full.trace_id}`} search={full.span_id ? { sel: full.span_id } : {}}>Open trace</Link> : null}
        <Button size="compact-sm" variant="default" aria-pressed={around} onClick={() => setAround(!around)}>Lines around</Button>
        <Button size="compact-sm" variant="default" onClick={onClose}>Close</Button>
      </header>
      <div className="log-drawer-body">
        {full.body.length > 160 || full.body.includes('\n') ? <pre className="code">{block(full.body)}</pre> : null}
        {around ? (
          <Async query={context}>
            {(data) => (
              <pre className="code">
                {[...data.before, data.row, ...data.after].map((r) => (
                  <div key={r.id} className={r.id === row.id ? 'hit' : undefined}>{clock(millis(r.time), zone, true)} {r.severity_text.padEnd(5)} {plain(r.body, 300)}</div>
                ))}
              </pre>
            )}
          </Async>
        ) : null}
        <table className="kvt">
          <tbody>
            {fields.map(([key, field, value]) => (
              <tr key={key}>
                <td>{key}</td>
                <td>{plain(value, 2000)}</td>
                <td className="field-actions">
                  <button type="button" className="link-button" aria-label={`Only ${field} ${value}`} onClick={() => onFilter(withTerm(q, field, value))}>only</button>{' '}
                  <button type="button" className="link-button" aria-label={`Exclude ${field} ${value}`} onClick={() => onFilter(withTerm(q, field, value, true))}>exclude</button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}
