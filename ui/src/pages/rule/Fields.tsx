/** A rule in fields; what is wrong stands at the field it is wrong in. */
import { lazy, Suspense, useMemo } from 'react';
import type { RuleFinding } from '../../api/types';
import type { Draft } from '../../lib/rules';

const Editor = lazy(() => import('../metrics/Editor'));

/** Annotations and labels that the page contract asks for. */
const LABELS = ['severity', 'service', 'owner', 'team'];
const ANNOTATIONS = ['summary', 'description', 'impact', 'runbook', 'runbook_url', 'owner'];

function Pairs({ name, entries, known, onChange }: { name: string; entries: [string, string][]; known: string[]; onChange: (next: [string, string][]) => void }) {
  const list = `${name}-names`;
  return (
    <fieldset className="pairs">
      <legend>{name}</legend>
      <datalist id={list}>{known.map((k) => <option key={k} value={k} />)}</datalist>
      {entries.map(([key, value], i) => (
        <div key={i} className="pair">
          <input className="input mono" aria-label={`${name} ${i + 1}: name`} list={list} placeholder="name" value={key} onChange={(e) => onChange(entries.map((p, at) => (at === i ? [e.target.value, p[1]] : p)))} />
          <input className="input" aria-label={`${name} ${i + 1}: value`} placeholder="value" value={value} onChange={(e) => onChange(entries.map((p, at) => (at === i ? [p[0], e.target.value] : p)))} />
          <button type="button" className="link-button" aria-label={`Remove ${key || `entry ${i + 1}`}`} onClick={() => onChange(entries.filter((_, at) => at !== i))}>×</button>
        </div>
      ))}
      <button type="button" className="link-button" onClick={() => onChange([...entries, [known.find((k) => !entries.some(([have]) => have === k)) ?? '', '']])}>Add {name === 'Labels' ? 'a label' : 'an annotation'}</button>
    </fieldset>
  );
}

export function Fields({ draft, findings, onChange, onRun }: { draft: Draft; findings: RuleFinding[]; onChange: (next: Partial<Draft>) => void; onRun: () => void }) {
  const of = (...keys: string[]) => findings.filter((f) => keys.some((k) => f.key.endsWith(`.${k}`) || f.key.includes(`.${k}.`)));
  const wrong = (list: RuleFinding[], id: string) => list.length ? <div id={id} className={list.some((f) => f.severity === 'error') ? 't-crit' : 't-warn'} role={list.some((f) => f.severity === 'error') ? 'alert' : undefined}>{list.map((f) => <div key={f.key + f.message}>{f.severity === 'error' ? '✕' : '▲'} {f.message.replace(/ \(byte \d+\)$/, '')}{f.nearest ? `; did you mean ${f.nearest}?` : ''}</div>)}</div> : null;
  const expr = of('expr');
  const fault = useMemo(() => {
    const found = expr.map((f) => ({ at: / \(byte (\d+)\)$/.exec(f.message), message: f.message })).find((f) => f.at);
    return found ? { start: Number(found.at![1]), end: Number(found.at![1]) + 1, message: found.message } : null;
    // The findings are new objects with each answer.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [findings]);
  const input = (key: 'for' | 'keep' | 'interval', label: string, yaml: string, placeholder: string) => {
    const found = of(yaml);
    return (
      <label>{label}
        <input className="input mono" placeholder={placeholder} value={draft[key]} aria-invalid={found.some((f) => f.severity === 'error') || undefined} aria-describedby={`wrong-${key}`} onChange={(e) => onChange({ [key]: e.target.value })} />
        {wrong(found, `wrong-${key}`)}
      </label>
    );
  };
  return (
    <div className="rule-fields">
      <label>Name<input className="input" data-testid="rule-name" placeholder="HighErrorRate" value={draft.name} onChange={(e) => onChange({ name: e.target.value })} />{wrong(of('alert'), 'wrong-name')}</label>
      <div className="rule-expr">
        <span id="rule-expr-label">Condition</span>
        <Suspense fallback={<textarea className="input mono" aria-label="PromQL" value={draft.expr} onChange={(e) => onChange({ expr: e.target.value })} />}>
          <Editor value={draft.expr} onChange={(text) => onChange({ expr: text })} onRun={onRun} fault={fault} lines hint="sum by (service) (rate(http_requests_total{code=~&quot;5..&quot;}[5m])) > 1" />
        </Suspense>
        {wrong(expr, 'wrong-expr')}
      </div>
      <div className="rule-times">
        {input('for', 'for', 'for', '5m')}
        {input('keep', 'keep firing for', 'keep_firing_for', '0s')}
        {input('interval', 'evaluated every', 'interval', "server's")}
      </div>
      <Pairs name="Labels" entries={draft.labels} known={LABELS} onChange={(labels) => onChange({ labels })} />
      {wrong(of('labels'), 'wrong-labels')}
      <Pairs name="Annotations" entries={draft.annotations} known={ANNOTATIONS} onChange={(annotations) => onChange({ annotations })} />
      {wrong(of('annotations'), 'wrong-annotations')}
    </div>
  );
}
