/** A query in one line: Enter runs, an error is marked where it is. */
import { Button } from '@mantine/core';
import { useEffect, useState } from 'react';
import { CallError } from '../api/client';

export function QueryBox({ value, onRun, placeholder, error, busy, label = 'Filter' }: { value: string; onRun: (value: string) => void; placeholder?: string; error?: unknown; busy?: boolean; label?: string }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const call = error instanceof CallError ? error : null;
  const at = call?.at;
  return (
    <form className="query-box" onSubmit={(e) => { e.preventDefault(); onRun(text.trim()); }}>
      <div className="query-field">
        <input className="input mono" data-query aria-label={label} aria-invalid={at ? true : undefined} placeholder={placeholder} value={text} onChange={(e) => setText(e.target.value)} spellCheck={false} autoComplete="off" />
        {call && call.status === 400 ? (
          <div className="query-error" role="alert">
            {at ? <pre aria-hidden>{`${' '.repeat(at.start)}${'~'.repeat(Math.max(1, at.end - at.start))}`}</pre> : null}
            {call.message}
          </div>
        ) : null}
      </div>
      <Button type="submit" size="compact-sm" loading={busy ?? false}>Run</Button>
    </form>
  );
}
