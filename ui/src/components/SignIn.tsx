/** Changes need the key; it is asked for where it is needed and kept as a session. */
import { Button } from '@mantine/core';
import { useState } from 'react';
import { login } from '../api/hooks';

export function SignIn({ onDone }: { onDone: () => void }) {
  const [key, setKey] = useState('');
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  return (
    <form className="sign-in" onSubmit={(e) => {
      e.preventDefault();
      setBusy(true);
      login(key).then(onDone, (reason: unknown) => setError(reason instanceof Error ? reason.message : String(reason))).finally(() => setBusy(false));
    }}>
      <label>This is recorded under your name or changes something, so it needs the API key of this server (in its data folder, file <code>api-key</code>)
        <input className="input mono" type="password" autoComplete="current-password" value={key} onChange={(e) => setKey(e.target.value)} />
      </label>
      {error ? <div className="t-crit" role="alert">{error}</div> : null}
      <Button type="submit" size="compact-sm" loading={busy}>Sign in</Button>
    </form>
  );
}
