/** Lines as they arrive, over server-sent events. */
import { useEffect, useState } from 'react';
import { useRange } from '../app/context';
import { path } from './client';
import type { LogRow } from './types';

/** Lines that are kept: the page asks anew every few seconds anyway. */
const ROWS_MAX = 1_000;

/** Newest first, while `on`; `skipped` counts lines that came faster than this page took them, matching or not. */
export function useTail(q: string, on: boolean): { rows: LogRow[]; skipped: number } {
  const { params } = useRange();
  const { env } = params;
  const [tail, setTail] = useState<{ rows: LogRow[]; skipped: number }>({ rows: [], skipped: 0 });
  useEffect(() => {
    setTail({ rows: [], skipped: 0 });
    if (!on) return;
    const source = new EventSource(path('/v1/logs/tail', { q, env }));
    source.addEventListener('rows', (event) => {
      const arrived = (JSON.parse((event as MessageEvent<string>).data) as LogRow[]).reverse();
      setTail((old) => ({ ...old, rows: [...arrived, ...old.rows].slice(0, ROWS_MAX) }));
    });
    source.addEventListener('skipped', (event) => {
      const { rows } = JSON.parse((event as MessageEvent<string>).data) as { rows: number };
      setTail((old) => ({ ...old, skipped: old.skipped + rows }));
    });
    return () => source.close();
  }, [q, env, on]);
  return tail;
}

/** What arrived since the last answer in front of it, each line once, newest first. */
export function merged(arrived: LogRow[], answered: LogRow[]): LogRow[] {
  if (arrived.length === 0) return answered;
  const known = new Set(answered.map((row) => row.id));
  const fresh = arrived.filter((row) => !known.has(row.id));
  return [...fresh, ...answered].sort((a, b) => (a.time.length === b.time.length ? (a.time < b.time ? 1 : a.time > b.time ? -1 : 0) : b.time.length - a.time.length));
}
