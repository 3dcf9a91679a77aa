/** A dashboard's versions: who changed what, and the way back. */
import { Button } from '@mantine/core';
import { useState } from 'react';
import { CallError } from '../../api/client';
import { restoreDashboard, useChange, useDashboardDiff, useDashboardVersions } from '../../api/hooks';
import { usePreferences } from '../../app/context';
import { Async, ErrorBox } from '../../components/Async';
import { SignIn } from '../../components/SignIn';
import { millis, stamp, zoneName } from '../../lib/time';

export function Versions({ name }: { name: string }) {
  const versions = useDashboardVersions(name);
  const { zone } = usePreferences();
  const [chosen, setChosen] = useState(0);
  const restore = useChange((version: number) => restoreDashboard(name, version));
  return (
    <Async query={versions}>
      {(data) => {
        const list = data.versions;
        if (!list.length) return <div className="empty-page"><p>This dashboard is not stored, so it has no versions: it comes from a file, or makes itself from the data. Storing a copy begins its history.</p></div>;
        const current = list[0]!;
        const at = list.findIndex((v) => v.version === (chosen || current.version));
        const previous = list.slice(at + 1).find((v) => !v.deleted);
        return (
          <div className="runbook-grid">
            <div>
              {restore.error instanceof CallError && restore.error.status === 401 ? <SignIn onDone={() => restore.mutate(restore.variables!)} /> : restore.error ? <ErrorBox error={restore.error} /> : null}
              {previous && !list[at]?.deleted ? <Diff name={name} before={previous.version} after={list[at]!.version} /> : <section className="panel"><div className="empty">{list[at]?.deleted ? 'It was removed with this version.' : 'The first version at hand.'}</div></section>}
            </div>
            <section className="panel">
              <header>Versions <span className="sub">newest first</span></header>
              <table className="dense rows"><tbody>{list.map((v) => (
                <tr key={v.version} className={v.version === list[at]?.version ? 'sel' : ''}>
                  <td className="num"><button type="button" className="link-button" onClick={() => setChosen(v.version)}>{v.version}</button></td>
                  <td>{v.deleted ? <span className="t-warn">▲ removed</span> : v.message || `${v.panels} panels`}<div className="sub">{v.actor}, {stamp(millis(v.at), zone)} {zoneName(zone)}</div></td>
                  <td className="r">{v.version === current.version || v.deleted ? null : <Button size="compact-xs" variant="default" loading={restore.isPending} onClick={() => restore.mutate(v.version)}>Restore</Button>}</td>
                </tr>
              ))}</tbody></table>
            </section>
          </div>
        );
      }}
    </Async>
  );
}

function Diff({ name, before, after }: { name: string; before: number; after: number }) {
  const diff = useDashboardDiff(name, before, after);
  return (
    <section className="panel">
      <header>What version {after} changed <span className="sub">against version {before}</span></header>
      <Async query={diff}>{(data) => data.lines.length ? (
        <pre className="code inset diff">{data.lines.map((l, i) => <span key={i} className={l.op === '+' ? 'add' : l.op === '-' ? 'del' : ''}>{l.op} {l.text}{'\n'}</span>)}</pre>
      ) : <div className="empty">Nothing.</div>}</Async>
    </section>
  );
}
