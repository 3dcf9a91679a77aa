/** A rule while it is written: what is wrong with it, and when it would have fired over what is stored. */
import { Button } from '@mantine/core';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { lazy, Suspense, useEffect, useMemo, useRef, useState } from 'react';
import { useBacktest, useLint } from '../../api/hooks';
import type { RuleFinding } from '../../api/types';
import { useRange } from '../../app/context';
import { ErrorBox } from '../../components/Async';
import { Link } from '../../components/Link';
import { EMPTY, fromRule, fromSearch, toSearch, toYaml, type Draft } from '../../lib/rules';
import { Fields } from './Fields';
import { Outcome } from './Outcome';

const YamlEditor = lazy(() => import('./YamlEditor'));

/** Typing has paused for this long before anything is asked. */
const PAUSE_MS = 450;
/** A rule that is longer than this is not kept in the address: browsers and proxies cut those. */
const ADDRESS_MAX = 6_000;
const WINDOWS: [string, string][] = [['-1h', '1 h'], ['-6h', '6 h'], ['-24h', '24 h'], ['-7d', '7 d'], ['-30d', '30 d']];
const DEFAULT_WINDOW = '-24h';

const EXAMPLES: { title: string; draft: Draft }[] = [
  { title: 'A target is down', draft: { ...EMPTY, name: 'TargetDown', expr: 'up == 0', for: '5m', labels: [['severity', 'page']], annotations: [['summary', '{{ $labels.instance }} of {{ $labels.job }} cannot be scraped']] } },
  { title: 'Requests fail', draft: { ...EMPTY, name: 'RequestsFail', expr: 'sum by (service) (rate(traces_spanmetrics_calls_total{status_code="STATUS_CODE_ERROR"}[5m])) / sum by (service) (rate(traces_spanmetrics_calls_total[5m])) > 0.05', for: '5m', labels: [['severity', 'page']], annotations: [['summary', '{{ $value | humanizePercentage }} of the requests to {{ $labels.service }} fail']] } },
  { title: 'A disk fills up', draft: { ...EMPTY, name: 'DiskFills', expr: 'predict_linear(node_filesystem_avail_bytes[6h], 4 * 3600) < 0', for: '30m', labels: [['severity', 'ticket']], annotations: [['summary', '{{ $labels.mountpoint }} of {{ $labels.instance }} is full in four hours']] } },
];

/** The value once it has not changed for a while; null meanwhile. */
function usePaused(value: string): string | null {
  const [paused, setPaused] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setPaused(value), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return paused === value ? value : null;
}

export default function RulePage() {
  const search = useSearch({ strict: false }) as Record<string, string | undefined>;
  const navigate = useNavigate();
  const { range, set } = useRange();
  const [draft, setDraft] = useState<Draft>(() => fromSearch(search));
  const [text, setText] = useState<string | null>(search.yaml ?? null);
  const rules = text ?? (draft.expr.trim() || draft.name.trim() ? toYaml(draft) : '');
  const paused = usePaused(rules);
  const lint = useLint(paused);
  const sound = lint.data !== undefined && !lint.isPlaceholderData && lint.data.errors === 0 && lint.data.rules > 0;
  const backtest = useBacktest(sound ? paused : null, range);
  const [copied, setCopied] = useState(false);
  const written = useRef(JSON.stringify(text === null ? toSearch(draft) : { yaml: text }));
  useEffect(() => { document.title = `${draft.name || 'New rule'} · Skopos`; }, [draft.name]);
  // A backtest over the last hour says little: without a range in the address it is the last day.
  useEffect(() => {
    if (search.from === undefined) void navigate({ to: '.', replace: true, search: ((prev: Record<string, unknown>) => ({ ...prev, from: DEFAULT_WINDOW, to: 'now' })) as never });
    // Once, on arrival.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);
  // What is typed goes into the address when typing pauses; what comes from there by Back goes into the fields.
  useEffect(() => {
    if (paused === null) return;
    const mine: Record<string, string> = text === null ? toSearch(draft) : text.length <= ADDRESS_MAX ? { yaml: text } : {};
    const next = JSON.stringify(mine);
    if (next === written.current) return;
    written.current = next;
    const kept = ({ env, from, to, live }: Record<string, unknown>) => ({ env, from, to, live });
    void navigate({ to: '.', replace: true, search: ((prev: Record<string, unknown>) => ({ ...kept(prev), ...mine })) as never });
  }, [paused, text, draft, navigate]);
  const address = JSON.stringify(search.yaml !== undefined ? { yaml: search.yaml } : toSearch(fromSearch(search)));
  useEffect(() => {
    if (address === written.current || (text !== null && text.length > ADDRESS_MAX)) return;
    written.current = address;
    setDraft(fromSearch(search));
    setText(search.yaml ?? null);
    // Only what the address holds counts.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [address]);
  const run = () => void backtest.refetch();
  const change = (next: Partial<Draft>) => setDraft((d) => ({ ...d, ...next }));
  const only = lint.data && !lint.isPlaceholderData && lint.data.rules === 1 && lint.data.errors === 0 ? lint.data.groups.find((g) => g.rules.length)! : undefined;
  const asFields = only?.rules[0]!.kind === 'alerting' ? () => { setDraft(fromRule(only.rules[0]!, only.interval_seconds)); setText(null); } : undefined;
  const copy = () => void navigator.clipboard?.writeText(rules).then(() => { setCopied(true); setTimeout(() => setCopied(false), 1500); });
  const download = () => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([rules], { type: 'application/yaml' }));
    link.download = `${(draft.name || 'rules').replace(/[^\w.-]+/g, '-')}.yml`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  const findings = useMemo(() => (rules.trim() === '' ? [] : (lint.data?.findings ?? [])), [lint.data, rules]);
  return (
    <>
      <div className="page-h">
        <h1>Rule</h1>
        <div className="segmented" role="group" aria-label="How to write it">
          <button type="button" aria-pressed={text === null} disabled={text !== null && !asFields && rules.trim() !== ''} title={text !== null && !asFields ? 'Fields hold one alerting rule' : undefined} onClick={() => { if (text !== null) { if (asFields) asFields(); else { setDraft(EMPTY); setText(null); } } }}>Fields</button>
          <button type="button" aria-pressed={text !== null} onClick={() => setText(text ?? rules)}>YAML</button>
        </div>
        <div className="segmented" role="group" aria-label="History">
          {WINDOWS.map(([value, name]) => <button key={value} type="button" aria-pressed={range.to === 'now' && range.from === value} onClick={() => set({ from: value, to: 'now' })}>{name}</button>)}
        </div>
        <span className="sp" />
        <Button size="compact-sm" variant="default" disabled={rules.trim() === ''} onClick={copy}>{copied ? '✓ Copied' : 'Copy as YAML'}</Button>
        <Button size="compact-sm" variant="default" disabled={rules.trim() === ''} onClick={download}>Download</Button>
      </div>
      <div className="rule-grid">
        <div>
          <section className="panel rule-edit" aria-label="Rule">
            {text === null ? <Fields draft={draft} findings={findings} onChange={change} onRun={run} /> : (
              <Suspense fallback={<textarea className="input mono source" rows={18} aria-label="Rule file" value={text} onChange={(e) => setText(e.target.value)} />}>
                <YamlEditor value={text} findings={findings} onChange={setText} onRun={run} />
              </Suspense>
            )}
          </section>
          <Findings findings={findings} duplicates={lint.data?.duplicates ?? []} checked={lint.data !== undefined && rules.trim() !== ''} error={lint.isError ? lint.error : null} onRetry={() => void lint.refetch()} />
        </div>
        <div className="rule-outcome" data-testid="outcome">
          {rules.trim() === '' ? (
            <section className="panel gone">
              <p><strong>Write a condition</strong> and it is tried on what is stored: when it would have been pending, fired and woken somebody. Nothing is sent and nothing is stored. The rule goes into a file under <code>rule_files</code> when it is good.</p>
              <p>Begin with: {EXAMPLES.map((e, i) => <span key={e.title}>{i ? ' · ' : ''}<button type="button" className="link-button" onClick={() => { setText(null); setDraft(e.draft); }}>{e.title}</button></span>)}, or with <Link to="/alerts" search={{ tab: 'rules' }}>a rule there is</Link>.</p>
            </section>
          ) : lint.data && !lint.isPlaceholderData && lint.data.errors > 0 ? (
            <section className="panel"><div className="empty">✕ The rule cannot be read yet: {lint.data.errors === 1 ? 'one error' : `${lint.data.errors} errors`}.</div></section>
          ) : <Outcome query={backtest} typing={paused === null} selected={Number(search.sel ?? 0)} onFor={text === null ? (value) => change({ for: value }) : undefined} />}
        </div>
      </div>
    </>
  );
}

function Findings({ findings, duplicates, checked, error, onRetry }: { findings: RuleFinding[]; duplicates: { rule: string; times: number }[]; checked: boolean; error: unknown; onRetry: () => void }) {
  if (error) return <ErrorBox error={error} onRetry={onRetry} />;
  if (!checked) return null;
  if (findings.length === 0 && duplicates.length === 0) return <p className="sub inset" data-testid="findings">✓ Lint finds nothing.</p>;
  return (
    <section className="panel" data-testid="findings">
      <header>Lint <span className="sub">as <code>skopos rules lint</code> says it</span></header>
      <ul className="plain">
        {findings.map((f) => (
          <li key={`${f.line} ${f.key} ${f.message}`}>
            <span className={f.severity === 'error' ? 't-crit' : 't-warn'}>{f.severity === 'error' ? '✕' : '▲'}</span> {f.line !== null ? <span className="sub num">{f.line}:{f.column ?? 1} </span> : null}{f.message}{f.nearest ? <span className="sub">; did you mean <code>{f.nearest}</code>?</span> : null}
          </li>
        ))}
        {duplicates.map((d) => <li key={d.rule}><span className="t-warn">▲</span> <span className="mono expr">{d.rule}</span> stands {d.times} times: one overwrites the series of the other</li>)}
      </ul>
    </section>
  );
}
