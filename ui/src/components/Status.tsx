/** A state as glyph and word: colour alone never carries meaning. */
import type { Health } from '../api/types';

const LOOK: Record<Health | 'info', { cls: string; glyph: string }> = {
  ok: { cls: 'ok', glyph: '✓' },
  warning: { cls: 'warn', glyph: '▲' },
  critical: { cls: 'crit', glyph: '✕' },
  info: { cls: 'info', glyph: '●' },
  unknown: { cls: 'unk', glyph: '?' },
};

export function Status({ state, children }: { state: Health | 'info'; children: React.ReactNode }) {
  const look = LOOK[state];
  return <span className={`st ${look.cls}`}><span aria-hidden>{look.glyph}</span> {children}</span>;
}

export const severityState = (severity: string, state = 'firing'): Health | 'info' =>
  state === 'resolved' ? 'ok' : state === 'pending' ? 'info' : severity === 'page' || severity === 'critical' ? 'critical' : 'warning';
