/** One executable step. */
import { Button, Modal } from '@mantine/core';
import { useState } from 'react';
import { runStep, useChange } from '../../api/hooks';
import type { RunbookStep, StepResult } from '../../api/types';
import { CallError } from '../../api/client';
import { ErrorBox } from '../../components/Async';
import { Link } from '../../components/Link';
import { SignIn } from '../../components/SignIn';
import { Verdict } from './index';

export function Step({ step, result, start, suggested }: { step: RunbookStep; result: StepResult | undefined; start: () => Promise<string>; suggested: boolean }) {
  const [asking, setAsking] = useState(false);
  const [typed, setTyped] = useState('');
  const run = useChange<{ confirm?: string; dry_run?: boolean }, StepResult>(async (body) => runStep(await start(), step.id, body));
  const acts = step.phase !== 'verify' && step.kind !== 'manual';
  const close = () => { setAsking(false); setTyped(''); };
  const denied = run.error instanceof CallError && run.error.status === 401;
  return (
    <div className={`step ${suggested ? 'suggested' : ''}`} id={`step-${step.id}`}>
      <div className="step-head">
        <strong>{step.title || step.id}</strong>
        <span className="sub">{step.phase} · {step.kind}{step.action ? ` · action ${step.action}` : ''}</span>
        {suggested ? <span className="chip static">suggested next</span> : null}
        <span className="sp" />
        {result ? <Verdict result={result} /> : null}
        {acts ? (
          <>
            <Button size="compact-sm" variant="default" loading={run.isPending && run.variables?.dry_run === true} onClick={() => run.mutate({ dry_run: true })}>Dry run</Button>
            <Button size="compact-sm" color={step.phase === 'mitigate' ? 'indigo' : 'gray'} onClick={() => setAsking(true)} data-testid={`run-${step.id}`}>{step.phase === 'mitigate' ? 'Mitigate…' : 'Roll back…'}</Button>
          </>
        ) : (
          <Button size="compact-sm" variant="default" loading={run.isPending} onClick={() => run.mutate(step.kind === 'manual' ? { confirm: step.id } : {})} data-testid={`run-${step.id}`}>{step.kind === 'manual' ? 'Mark done' : 'Run'}</Button>
        )}
      </div>
      {step.query ? <Link to={step.kind === 'logs' ? '/logs' : step.kind === 'trace_search' ? '/traces' : '/explore/metrics'} search={step.kind === 'promql' ? { expr: step.query } : { q: step.query }} className="mono step-query">{step.query}</Link> : null}
      {step.expect ? <div className="sub">expects <span className="mono">{step.expect}</span></div> : null}
      {acts && step.rollback ? <div className="sub">undone by <span className="mono">{step.rollback}</span></div> : null}
      {result ? <div className="step-result">{result.value !== null ? <span className="num">value {result.value}</span> : null} {result.message}</div> : null}
      {run.isError && !denied ? <ErrorBox error={run.error} /> : null}
      {denied ? <SignIn onDone={() => { if (run.variables) run.mutate(run.variables); }} /> : null}
      <Modal opened={asking} onClose={close} title={`${step.phase === 'mitigate' ? 'Mitigate' : 'Roll back'}: ${step.title || step.id}`} centered>
        <p>This runs the action <strong className="mono">{step.action}</strong> with</p>
        <pre className="code">{JSON.stringify(step.parameters, null, 2)}</pre>
        {step.rollback && step.phase === 'mitigate' ? <p className="sub">It can be undone by the step {step.rollback}.</p> : null}
        <form onSubmit={(e) => { e.preventDefault(); if (typed === step.id) { run.mutate({ confirm: typed }); close(); } }}>
          <label>Type <strong className="mono">{step.id}</strong> to confirm<input className="input mono" data-autofocus value={typed} onChange={(e) => setTyped(e.target.value)} aria-label={`Type ${step.id} to confirm`} /></label>
          <div className="modal-actions">
            <Button variant="default" size="compact-sm" type="button" onClick={close}>Cancel</Button>
            <Button size="compact-sm" type="submit" disabled={typed !== step.id}>Run {step.id}</Button>
          </div>
        </form>
      </Modal>
    </div>
  );
}
