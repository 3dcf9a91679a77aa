/** What a PromQL query answers: chart, latest values, cost, and the error where it is. */
import { useMemo } from 'react';
import type { UseQueryResult } from '@tanstack/react-query';
import { useRanged } from '../../api/hooks';
import { TimeChart } from '../../charts/TimeChart';
import { usePreferences, useRange } from '../../app/context';
import { Async, ErrorBox } from '../../components/Async';
import { Cost } from '../../components/Cost';
import { Link } from '../../components/Link';
import { unitOf, withUnit } from '../../lib/format';
import { serviceIn } from '../../lib/metrics';
import { matrixFrame, promRange, stepFor, type PromMatrix } from '../../lib/prom';
import { rangeText, zoneName } from '../../lib/time';
import { Explain } from './Explain';
import { useExemplars, useSurroundings } from './context';

const WEEK = 604_800_000;
const ROWS_MAX = 500;

export function Result({ expr, answer, tab, compareOn, set }: { expr: string; answer: UseQueryResult<PromMatrix>; tab: string | undefined; compareOn: boolean; set: (next: { tab?: string | undefined; cmp?: string | undefined }) => void }) {
  const { bounds } = useRange();
  const { zone } = usePreferences();
  const unit = unitOf(expr);
  const { points, open } = useExemplars(expr, answer.isSuccess);
  const { markers, bands } = useSurroundings(serviceIn(expr));
  const shifted = useMemo(() => ({ from: bounds.from - WEEK, to: bounds.to - WEEK }), [bounds.from, bounds.to]);
  const before = useRanged<PromMatrix>('/api/v1/query_range', promRange(expr, shifted), compareOn);
  const frame = useMemo(() => (answer.data ? matrixFrame(answer.data, bounds) : null), [answer.data, bounds]);
  const compare = useMemo(() => (compareOn && before.data && frame ? { frame: { ...matrixFrame(before.data, shifted), start: frame.start }, name: 'a week before' } : undefined), [compareOn, before.data, frame, shifted]);
  if (answer.isError && !answer.isPlaceholderData) return <ErrorBox error={answer.error} onRetry={() => void answer.refetch()} />;
  const first = points[0];
  const toggle = (name: string) => set({ tab: tab === name ? undefined : name });
  return (
    <Async query={answer} skeleton={8}>
      {(data) => (
        <>
          {[...(data.warnings ?? []), ...(data.infos ?? [])].map((w) => <div key={w} className="strip">▲ {w}</div>)}
          <TimeChart title={expr.length > 80 ? `${expr.slice(0, 80)}…` : expr} sub={`${data.data.result.length} series, step ${stepFor(bounds)} s`} unit={unit} frame={frame!} height={280} points={points} onPoint={open} markers={markers} bands={bands} {...(compare ? { compare } : {})}
            actions={<>
              {first ? <button type="button" className="link-button" data-testid="exemplar" onClick={() => open(first)}>Exemplar trace</button> : null}
              <button type="button" className="link-button" aria-pressed={compareOn} onClick={() => set({ cmp: compareOn ? undefined : '1w' })}>Against last week</button>
              <button type="button" className="link-button" aria-pressed={tab === 'table'} onClick={() => toggle('table')}>Latest values</button>
              <button type="button" className="link-button" aria-pressed={tab === 'explain'} onClick={() => toggle('explain')}>Explain</button>
              <Link to="/rules/edit" search={{ expr }}>Alert on it</Link>
            </>} />
          <div className="foot">{rangeText(bounds.from, bounds.to, zone)} {zoneName(zone)} · <Cost stats={data.data.stats} />{compare && compare.frame.series.length === 0 ? ' · nothing was stored a week before' : ''}</div>
          {tab === 'explain' ? <Explain expr={expr} step={stepFor(bounds)} /> : null}
          {tab === 'table' ? (
            <section className="panel">
              <table className="dense rows"><thead><tr><th>series</th><th className="r">latest</th></tr></thead><tbody>
                {data.data.result.slice(0, ROWS_MAX).map((r, i) => <tr key={i}><td className="mono expr">{Object.entries(r.metric).map(([k, v]) => (k === '__name__' ? v : `${k}=${v}`)).join(' ')}</td><td className="r num">{withUnit(Number(r.values?.[r.values.length - 1]?.[1] ?? NaN), unit)}</td></tr>)}
              </tbody></table>
              {data.data.result.length > ROWS_MAX ? <div className="foot">{ROWS_MAX} of {data.data.result.length} series</div> : null}
            </section>
          ) : null}
        </>
      )}
    </Async>
  );
}
