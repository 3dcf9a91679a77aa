/** Loading, error and stale states, the same on every panel. */
import { Button } from '@mantine/core';
import type { UseQueryResult } from '@tanstack/react-query';
import { useEffect, useState, type ReactNode } from 'react';
import { CallError } from '../api/client';

function Elapsed({ onCancel }: { onCancel?: () => void }) {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setSeconds((s) => s + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  if (seconds < 1) return null;
  return (
    <div className="elapsed" role="status">
      {seconds} s{onCancel ? <Button size="compact-xs" variant="default" onClick={onCancel}>Cancel</Button> : null}
    </div>
  );
}

export function ErrorBox({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const call = error instanceof CallError ? error : null;
  return (
    <div className="error-box" role="alert">
      <div>
        <strong className="t-crit">✕ {call?.status === 401 ? 'The API key is needed' : 'This could not be loaded'}</strong>
        <div>{error instanceof Error ? error.message : String(error)}</div>
        {call?.requestId ? <div className="sub mono">request {call.requestId}</div> : null}
      </div>
      {onRetry ? <Button size="compact-sm" variant="default" onClick={onRetry}>Retry</Button> : null}
    </div>
  );
}

/** Shows the previous result dimmed while the next one comes, and the error in place of both when there is none. */
export function Async<T>({ query, children, skeleton = 3, onCancel }: { query: UseQueryResult<T>; children: (data: T) => ReactNode; skeleton?: number; onCancel?: () => void }) {
  if (query.data !== undefined) {
    return (
      <div className={query.isFetching && query.isPlaceholderData ? 'stale' : undefined}>
        {query.isFetching ? <div className="progress" aria-hidden /> : null}
        {query.isError ? <ErrorBox error={query.error} onRetry={() => void query.refetch()} /> : null}
        {children(query.data)}
      </div>
    );
  }
  if (query.isError) return <ErrorBox error={query.error} onRetry={() => void query.refetch()} />;
  return (
    <div aria-busy="true" className="skeletons">
      {Array.from({ length: skeleton }, (_, i) => <div key={i} className="skeleton" />)}
      <Elapsed {...(onCancel ? { onCancel } : {})} />
    </div>
  );
}
