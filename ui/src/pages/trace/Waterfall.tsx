/** Rows of spans, only those in view in the document. */
import { useVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useRef } from 'react';
import { nanoseconds } from '../../lib/format';
import { ticks, type Node } from '../../lib/tree';
import { serviceColour } from './colour';

const ROW = 24;
/** Deep indents compress after this level. */
const DEEP = 12;

const indent = (depth: number): number => (depth <= DEEP ? depth * 12 : DEEP * 12 + (depth - DEEP) * 2);

export function Waterfall({ rows, duration, critical, folded, selected, onSelect, onFold }: {
  rows: Node[]; duration: number; critical: Map<string, number>; folded: ReadonlySet<string>; selected: string | undefined; onSelect: (id: string) => void; onFold: (id: string) => void;
}) {
  const host = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => host.current, estimateSize: () => ROW, overscan: 10 });
  const at = rows.findIndex((n) => n.span.span_id === selected);
  useEffect(() => { if (at >= 0) virtual.scrollToIndex(at, { align: 'auto' }); }, [at, virtual]);
  const total = Math.max(1, duration);
  return (
    <>
      <div className="wf-h" aria-hidden>
        <div style={{ paddingLeft: 12 }}>Service and operation</div>
        <div className="ticks">{ticks(duration).map((t) => <span key={t} style={{ left: `${(t / total) * 100}%`, transform: t === 0 ? 'none' : undefined }}>{nanoseconds(t)}</span>)}</div>
      </div>
      <div className="vlist wf" ref={host} role="tree" aria-label="Spans" tabIndex={0} aria-activedescendant={at >= 0 ? `span-${at}` : undefined}>
        <div style={{ height: virtual.getTotalSize(), position: 'relative' }} role="presentation">
          {virtual.getVirtualItems().map((item) => {
            const node = rows[item.index]!;
            const { span } = node;
            const left = (node.offset / total) * 100;
            const width = Math.max(0.05, (span.duration / total) * 100);
            const error = span.status_code === 'error';
            const colour = serviceColour(span.service_name);
            const isFolded = folded.has(span.span_id);
            return (
              <div
                key={span.span_id + item.index}
                id={`span-${item.index}`}
                role="treeitem"
                aria-level={node.depth + 1}
                aria-selected={span.span_id === selected}
                aria-expanded={node.children ? !isFolded : undefined}
                className={`wrow ${span.span_id === selected ? 'sel' : ''}`}
                style={{ transform: `translateY(${item.start}px)` }}
                onClick={() => onSelect(span.span_id)}
              >
                <div className="wname" style={{ paddingLeft: 8 + indent(node.depth) }}>
                  <span className="tg" aria-hidden onClick={(e) => { if (node.children) { e.stopPropagation(); onFold(span.span_id); } }}>{node.children ? (isFolded ? '▸' : '▾') : ''}</span>
                  <span className="dot" style={{ background: colour }} />
                  <span className="svc">{span.service_name}</span>
                  <span className="op" title={span.name}>{span.name}</span>
                  {error ? <span className="t-crit" aria-hidden>✕</span> : null}
                  {node.missingParent ? <span className="sub" title="The parent of this span has not arrived">?</span> : null}
                </div>
                <div className="wtime">
                  <div className={`wbar ${error ? 'err' : ''} ${critical.has(span.span_id) ? 'crit-path' : ''}`} style={{ left: `${left}%`, width: `${width}%`, background: colour }} />
                  <span className="wlab" style={{ left: `${left + width}%` }}>{nanoseconds(span.duration)}<span className="sr">{error ? ', error' : ''}{critical.has(span.span_id) ? ', on the critical path' : ''}</span></span>
                </div>
              </div>
            );
          })}
        </div>
      </div>
    </>
  );
}
