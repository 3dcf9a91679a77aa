/** What a query costs, stage by stage. */
import { useExplain } from '../../api/hooks';
import { Async } from '../../components/Async';
import { Cost } from '../../components/Cost';
import { count, seconds } from '../../lib/format';

export function Explain({ expr, step }: { expr: string; step: number }) {
  const explained = useExplain(expr, step);
  return (
    <section className="panel" data-testid="explain">
      <header>Explain <span className="sub">series, samples and time by stage</span></header>
      <Async query={explained}>
        {(e) => {
          const share = (ms: number) => `${Math.max(0, Math.min(100, (ms / Math.max(e.total_milliseconds, 1e-9)) * 100))}%`;
          const row = (name: React.ReactNode, ms: number, series: string, samples: string, key: string) => (
            <tr key={key}>
              <td className="mono expr">{name}</td><td className="r num">{series}</td><td className="r num">{samples}</td><td className="r num">{seconds(ms / 1000)}</td>
              <td className="wide"><div className="minibar" aria-hidden><div style={{ width: share(ms) }} /></div></td>
            </tr>
          );
          return (
            <>
              <table className="dense rows">
                <thead><tr><th>stage</th><th className="r">series</th><th className="r">samples</th><th className="r">time</th><th className="wide" /></tr></thead>
                <tbody>
                  {row('parse', e.parse_milliseconds, '', '', 'parse')}
                  {e.stages.map((s, i) => row(<span style={{ paddingInlineStart: `${s.depth * 1.25}em` }}>{s.expression}</span>, s.own_milliseconds, count(s.series), s.samples ? count(s.samples) : '', `stage${i}`))}
                </tbody>
              </table>
              <div className="foot">{seconds(e.total_milliseconds / 1000)} in all · <Cost stats={e.stats} /></div>
            </>
          );
        }}
      </Async>
    </section>
  );
}
