/** Finds what there is, takes a trace id, a filter, PromQL or a time, and goes there. */
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { get, path } from '../api/client';
import type { PaletteResponse } from '../api/types';
import { sides } from '../lib/rules';
import { durationMs } from '../lib/time';
import { useRange } from './context';
import type { GlobalSearch } from './search';

interface Item { title: string; subtitle: string; go: () => void }

export function Palette({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const input = useRef<HTMLInputElement>(null);
  const navigate = useNavigate();
  const { set } = useRange();
  const search = useSearch({ strict: false }) as GlobalSearch;
  const found = useQuery<PaletteResponse>({ queryKey: ['palette', text], queryFn: ({ signal }) => get(path('/v1/search', { q: text }), signal), placeholderData: (p) => p });
  useEffect(() => input.current?.focus(), []);
  const to = (href: string, extra: Record<string, string> = {}) => {
    const { env, from, to: until, live } = search;
    void navigate({ to: href as never, search: { env, from, to: until, live, ...extra } as never });
    onClose();
  };
  const items: Item[] = [];
  const typed = text.trim();
  const back = /^(?:now)?-(.+)$/.exec(typed);
  if (back && durationMs(back[1]!) !== null) items.push({ title: `Show the last ${back[1]}`, subtitle: 'time range', go: () => { set({ from: `-${back[1]}`, to: 'now' }); onClose(); } });
  if (typed && 'new alert rule, backtest'.includes(typed.toLowerCase())) items.push({ title: 'New rule', subtitle: 'write an alert and try it on the past', go: () => to('/rules/edit') });
  if (typed && 'cardinality, series refused, limits'.includes(typed.toLowerCase())) items.push({ title: 'Cardinality', subtitle: 'which label makes series many, what is refused', go: () => to('/explore/cardinality') });
  for (const i of found.data?.items ?? []) items.push({ title: i.title, subtitle: i.subtitle, go: () => to(i.href) });
  if (typed) {
    items.push({ title: `Logs: ${typed}`, subtitle: 'search log lines', go: () => to('/logs', { q: typed }) });
    items.push({ title: `Traces: ${typed}`, subtitle: 'search spans', go: () => to('/traces', { q: typed }) });
    if (/[({]|_total|_seconds|_bytes/.test(typed)) items.push({ title: `Metrics: ${typed}`, subtitle: 'PromQL', go: () => to('/explore/metrics', { expr: typed }) });
    if (sides(typed)) items.push({ title: `Rule: ${typed}`, subtitle: 'when it would have fired', go: () => to('/rules/edit', { expr: typed }) });
  }
  const chosen = Math.min(at, items.length - 1);
  return (
    <div className="overlay" onClick={onClose} role="presentation">
      <div className="panel palette" role="dialog" aria-label="Search or jump to" onClick={(e) => e.stopPropagation()}>
        <input
          ref={input}
          className="input"
          placeholder="Service, alert, runbook, trace id, filter, PromQL, -6h"
          aria-label="Search"
          role="combobox"
          aria-expanded="true"
          aria-controls="palette-list"
          aria-activedescendant={items.length ? `palette-${chosen}` : undefined}
          value={text}
          onChange={(e) => { setText(e.target.value); setAt(0); }}
          onKeyDown={(e) => {
            if (e.key === 'Escape') onClose();
            else if (e.key === 'ArrowDown') { e.preventDefault(); setAt(Math.min(items.length - 1, chosen + 1)); }
            else if (e.key === 'ArrowUp') { e.preventDefault(); setAt(Math.max(0, chosen - 1)); }
            else if (e.key === 'Enter') items[chosen]?.go();
          }}
        />
        <ul id="palette-list" role="listbox" aria-label="Results">
          {items.map((item, i) => (
            <li key={`${item.title}${i}`} id={`palette-${i}`} role="option" aria-selected={i === chosen} onClick={item.go} onMouseMove={() => setAt(i)}>
              <span>{item.title}</span><span className="sub">{item.subtitle}</span>
            </li>
          ))}
        </ul>
        {items.length === 0 && !found.isFetching ? <div className="empty">Nothing found</div> : null}
      </div>
    </div>
  );
}
