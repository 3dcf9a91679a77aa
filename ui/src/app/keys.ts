/** Keyboard shortcuts of the frame. Pages listen to `skopos:key` for J, K, E, Enter, Escape and the arrows. */
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';
import { usePreferences, useRange } from './context';
import type { GlobalSearch } from './search';

const GO: Record<string, string> = { o: '/', s: '/services', a: '/alerts', i: '/slos', l: '/logs', t: '/traces', m: '/explore/metrics', d: '/drills', r: '/runbooks' };

interface Actions { palette: () => void; theme: () => void; live: () => void; help: () => void }

export function useKeys(actions: Actions) {
  const { keys } = usePreferences();
  const { bounds, set } = useRange();
  const navigate = useNavigate();
  const search = useSearch({ strict: false }) as GlobalSearch;
  const go = useRef(0);
  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      const command = e.metaKey || e.ctrlKey;
      if (command && e.key.toLowerCase() === 'k') { e.preventDefault(); actions.palette(); return; }
      if (command && e.key.toLowerCase() === 'j') { e.preventDefault(); actions.theme(); return; }
      const target = e.target as HTMLElement | null;
      const typing = target?.closest('input, textarea, select, [contenteditable="true"], .cm-editor');
      if (command || e.altKey || typing || !keys) return;
      const key = e.key.toLowerCase();
      if (Date.now() - go.current < 1000 && GO[key]) {
        go.current = 0;
        e.preventDefault();
        const { env, from, to, live } = search;
        void navigate({ to: GO[key] as never, search: { env, from, to, live } as never });
        return;
      }
      const span = bounds.to - bounds.from;
      const shift = (by: number) => set({ from: new Date(bounds.from + by).toISOString(), to: new Date(bounds.to + by).toISOString() });
      switch (key) {
        case 'g': go.current = Date.now(); return;
        case '?': actions.help(); return;
        case '.': actions.live(); return;
        case '[': shift(-span / 2); return;
        case ']': shift(span / 2); return;
        case 'z': set({ from: new Date(bounds.from - span / 2).toISOString(), to: new Date(bounds.to + span / 2).toISOString() }); return;
        case 'c': document.querySelector<HTMLButtonElement>('[data-key="c"]')?.click(); return;
        case '/': {
          const input = document.querySelector<HTMLElement>('[data-query]');
          if (input) { e.preventDefault(); input.focus(); }
          return;
        }
        default: window.dispatchEvent(new CustomEvent('skopos:key', { detail: e.key }));
      }
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  });
}

/** A page's own keys. */
export function usePageKeys(handler: (key: string) => void) {
  const latest = useRef(handler);
  latest.current = handler;
  useEffect(() => {
    const listen = (e: Event) => latest.current((e as CustomEvent<string>).detail);
    window.addEventListener('skopos:key', listen);
    return () => window.removeEventListener('skopos:key', listen);
  }, []);
}
