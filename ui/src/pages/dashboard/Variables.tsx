/** What a dashboard can be asked with: lists, several at once, text. */
import { Popover } from '@mantine/core';
import { useEffect, useState } from 'react';
import type { DashboardVariable } from '../../api/types';

const ALL = '$__all';
/** Values shown at once; typing narrows them. */
const SHOWN = 200;

export function Variables({ variables, onChange }: { variables: DashboardVariable[]; onChange: (name: string, values: string[]) => void }) {
  const shown = variables.filter((v) => !v.hidden && v.kind !== 'constant');
  if (!shown.length) return null;
  return (
    <div className="dash-vars" role="group" aria-label="Variables">
      {shown.map((v) => (v.kind === 'text' ? <Text key={v.name} variable={v} onChange={(value) => onChange(v.name, [value])} /> : <List key={v.name} variable={v} onChange={(values) => onChange(v.name, values)} />))}
    </div>
  );
}

function Text({ variable, onChange }: { variable: DashboardVariable; onChange: (value: string) => void }) {
  const [text, setText] = useState(variable.selected[0] ?? '');
  useEffect(() => setText(variable.selected[0] ?? ''), [variable.selected]);
  return (
    <form onSubmit={(e) => { e.preventDefault(); onChange(text); }}>
      <label>{variable.title} <input className="input select" value={text} onChange={(e) => setText(e.target.value)} onBlur={() => { if (text !== (variable.selected[0] ?? '')) onChange(text); }} /></label>
    </form>
  );
}

function List({ variable: v, onChange }: { variable: DashboardVariable; onChange: (values: string[]) => void }) {
  const [open, setOpen] = useState(false);
  const [filter, setFilter] = useState('');
  const label = (value: string) => (value === ALL ? 'All' : (v.options.find((o) => o.value === value)?.label ?? value));
  const options = [...(v.all ? [{ value: ALL, label: 'All' }] : []), ...v.options].filter((o) => o.label.toLowerCase().includes(filter.toLowerCase()));
  const pick = (value: string) => {
    if (!v.multiple || value === ALL) { onChange([value]); setOpen(false); return; }
    const kept = v.selected.filter((s) => s !== ALL);
    const next = kept.includes(value) ? kept.filter((s) => s !== value) : [...kept, value];
    onChange(next.length ? next : v.all ? [ALL] : [value]);
  };
  const text = v.selected.length ? v.selected.slice(0, 2).map(label).join(', ') + (v.selected.length > 2 ? ` and ${v.selected.length - 2} more` : '') : 'nothing';
  return (
    <Popover opened={open} onChange={setOpen} position="bottom-start" trapFocus>
      <Popover.Target>
        <button type="button" className="range-btn var" aria-haspopup="listbox" aria-expanded={open} onClick={() => setOpen(!open)} title={v.error ?? undefined} data-variable={v.name}>
          <span className="sub">{v.title}</span> {text} {v.error ? <span className="t-warn">▲</span> : null} ▾
        </button>
      </Popover.Target>
      <Popover.Dropdown p={4}>
        {v.error ? <div className="t-warn inset">▲ {v.error}</div> : null}
        {v.options.length > 8 ? <input className="input" aria-label={`Filter ${v.title}`} placeholder={`${v.options.length} values`} value={filter} onChange={(e) => setFilter(e.target.value)} /> : null}
        <div role="listbox" aria-label={v.title} aria-multiselectable={v.multiple} className="menu var-menu">
          {options.slice(0, SHOWN).map((o) => <button key={o.value} type="button" role="option" aria-selected={v.selected.includes(o.value)} onClick={() => pick(o.value)}>{v.selected.includes(o.value) ? '✓ ' : ''}{o.label}</button>)}
          {options.length === 0 ? <div className="empty">No value</div> : null}
        </div>
      </Popover.Dropdown>
    </Popover>
  );
}
