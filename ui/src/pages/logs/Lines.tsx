/** Lines of fixed height, only those in view in the document: time, level, service, message, key=value. */
import { useVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useRef } from 'react';
import type { LogRow } from '../../api/types';
import { usePreferences } from '../../app/context';
import { Link } from '../../components/Link';
import { clock, millis } from '../../lib/time';
import { plain } from '../../lib/text';

const ROW = 20;

export function Lines({ rows, selected, onSelect }: { rows: LogRow[]; selected: string | undefined; onSelect: (row: LogRow) => void }) {
  const host = useRef<HTMLDivElement>(null);
  const { zone } = usePreferences();
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => host.current, estimateSize: () => ROW, overscan: 12 });
  const at = rows.findIndex((r) => r.id === selected);
  useEffect(() => { if (at >= 0) virtual.scrollToIndex(at, { align: 'auto' }); }, [at, virtual]);
  return (
    <div className="vlist" ref={host} tabIndex={0} role="grid" aria-label="Log lines" aria-rowcount={rows.length} aria-activedescendant={at >= 0 ? `log-${at}` : undefined}>
      <div style={{ height: virtual.getTotalSize(), position: 'relative' }} role="rowgroup">
        {virtual.getVirtualItems().map((item) => {
          const row = rows[item.index]!;
          return (
            <div
              key={row.id}
              id={`log-${item.index}`}
              role="row"
              aria-rowindex={item.index + 1}
              aria-selected={row.id === selected}
              className={`lrow ${row.severity_text} ${row.id === selected ? 'sel' : ''}`}
              style={{ transform: `translateY(${item.start}px)` }}
              onClick={() => onSelect(row)}
            >
              <time role="gridcell">{clock(millis(row.time), zone, true)}</time>
              <span role="gridcell" className="lv">{row.severity_text || '—'}</span>
              <span role="gridcell" className="sv">{row.service_name}</span>
              <span role="gridcell" className="m">{plain(row.body, 400)}</span>
              <span role="gridcell" className="kv">
                {Object.entries(row.attributes).slice(0, 12).map(([k, v]) => <span key={k}>{k}=<i>{plain(typeof v === 'string' ? v : JSON.stringify(v), 80)}</i> </span>)}
                {row.trace_id ? <>trace=<Link to={`/traces/${row.trace_id}`} search={row.span_id ? { sel: row.span_id } : {}}>{row.trace_id.slice(0, 8)}</Link></> : null}
              </span>
            </div>
          );
        })}
      </div>
    </div>
  );
}
