/** SLOs: how much failure can we still afford? */
import { useEffect } from 'react';
import { useSlos } from '../api/hooks';
import { Async } from '../components/Async';
import { SloTable } from '../components/SloTable';

export default function SlosPage() {
  const slos = useSlos();
  useEffect(() => { document.title = 'SLOs · Skopos'; }, []);
  return (
    <>
      <div className="page-h"><h1>SLOs</h1></div>
      <section className="panel">
        <Async query={slos} skeleton={5}>
          {(data) => data.slos.length ? <SloTable slos={data.slos} /> : (
            <div className="empty-page"><p><strong>No SLO is defined.</strong> An SLO is an OpenSLO v1 file named under <code>slo_files</code> in the configuration; <code>skopos check slo.yaml</code> says what is missing.</p></div>
          )}
        </Async>
      </section>
    </>
  );
}
