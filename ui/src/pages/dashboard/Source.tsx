/** The document as text: read, changed, checked, stored. */
import { Button } from '@mantine/core';
import { useEffect, useState } from 'react';
import { CallError } from '../../api/client';
import { deleteDashboard, putDashboard, useChange } from '../../api/hooks';
import type { DashboardDetail } from '../../api/types';
import { ErrorBox } from '../../components/Async';
import { SignIn } from '../../components/SignIn';

export function Source({ detail, onStored }: { detail: DashboardDetail; onStored: (name: string) => void }) {
  const original = JSON.stringify(detail.document, null, 2);
  const [text, setText] = useState(original);
  const [message, setMessage] = useState('');
  useEffect(() => setText(original), [original]);
  const name = (() => {
    // Another name makes a copy.
    const found = /"name"\s*:\s*"([^"]+)"/.exec(/"metadata"\s*:\s*\{[^}]*\}/.exec(text)?.[0] ?? '')?.[1];
    return found ?? detail.name;
  })();
  const same = name === detail.name;
  const expected = same && detail.source === 'stored' ? (detail.version ?? undefined) : undefined;
  const store = useChange((dry: boolean) => putDashboard(name, text, dry ? { dry_run: 'true' } : { message, expected }));
  const remove = useChange(() => deleteDashboard(detail.name));
  const failed = store.error ?? remove.error;
  const done = (stored: { version: number | null }) => { if (stored.version !== null) onStored(name); };
  const locked = detail.source === 'file' && same;
  return (
    <section className="panel">
      <header>Source <span className="sub">{detail.source === 'file' ? `from ${detail.file}: change it there, or store a copy under another metadata.name` : detail.source === 'built-in' ? 'it makes itself; stored under its name it stays as it is' : `version ${detail.version}`}</span></header>
      <textarea className="input mono sql source" aria-label="Document" spellCheck={false} rows={28} value={text} onChange={(e) => setText(e.target.value)} />
      {failed instanceof CallError && failed.status === 401 ? <SignIn onDone={() => { if (store.error) store.mutate(store.variables!, { onSuccess: done }); else remove.mutate(undefined); }} /> : failed ? <ErrorBox error={failed} /> : null}
      {store.data && !store.error ? <div className="foot">{store.data.version === null ? '✓ The document is sound.' : `✓ Stored as version ${store.data.version}.`}{store.data.findings.map((f, i) => <div key={i} className="t-warn">▲ line {f.line}: {f.key}: {f.message}</div>)}</div> : null}
      <div className="sql-run">
        <Button size="compact-sm" disabled={locked} loading={store.isPending} onClick={() => store.mutate(false, { onSuccess: done })}>Store</Button>
        <Button size="compact-sm" variant="default" onClick={() => store.mutate(true)}>Check</Button>
        <input className="input" style={{ maxWidth: 320 }} aria-label="Why it changes" placeholder="Why it changes" value={message} onChange={(e) => setMessage(e.target.value)} />
        <span className="sp" />
        {detail.source === 'stored' ? <Button size="compact-sm" variant="default" loading={remove.isPending} onClick={() => { if (window.confirm(`Remove the dashboard ${detail.name}? Its versions stay and can be restored.`)) remove.mutate(undefined, { onSuccess: () => onStored('') }); }}>Remove…</Button> : null}
      </div>
    </section>
  );
}
