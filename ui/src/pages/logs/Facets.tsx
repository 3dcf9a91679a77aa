/** Values of fields with their counts; each can be the only one, or be left out. */
import { useState } from 'react';
import type { LogFacets } from '../../api/types';
import { count } from '../../lib/format';
import { terms, withTerm, withoutTerm, quote } from '../../lib/filter';

export function Facets({ data, q, onChange }: { data: LogFacets; q: string; onChange: (q: string) => void }) {
  const [all, setAll] = useState<Record<string, boolean>>({});
  const present = new Set(terms(q));
  return (
    <>
      {data.facets.map((facet) => {
        const max = Math.max(1, ...facet.values.map(([, n]) => n));
        const shown = all[facet.field] ? facet.values : facet.values.slice(0, 6);
        return (
          <div key={facet.field} className="facet-group">
            <h3>{facet.field}</h3>
            {shown.map(([value, n]) => {
              const term = `${facet.field}:${quote(value)}`;
              const on = present.has(term);
              return (
                <div key={value} className={`facet-row ${on ? 'on' : ''}`}>
                  <button type="button" aria-pressed={on} title={on ? 'Remove this filter' : `Only ${term}`} onClick={() => onChange(on ? withoutTerm(q, term) : withTerm(q, facet.field, value))}>
                    <span className="v">{value || '(empty)'}</span>
                    <span className="num sub">{count(n)}</span>
                  </button>
                  <button type="button" className="exclude" aria-label={`Exclude ${term}`} title={`Exclude ${term}`} onClick={() => onChange(withTerm(q, facet.field, value, true))}>−</button>
                  <div className="bar" style={{ width: `${(n / max) * 100}%` }} />
                </div>
              );
            })}
            {facet.values.length > 6 ? <button type="button" className="link-button" onClick={() => setAll({ ...all, [facet.field]: !all[facet.field] })}>{all[facet.field] ? 'fewer' : `${facet.distinct - 6} more`}</button> : null}
          </div>
        );
      })}
    </>
  );
}
