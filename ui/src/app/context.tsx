/** What every page knows: the range and environment of the URL, the time, the zone, whether it refreshes. */
import { useNavigate, useSearch } from '@tanstack/react-router';
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from 'react';
import { bounds, isRelative, type Range, type Zone } from '../lib/time';
import { DEFAULT_RANGE, type GlobalSearch } from './search';

interface Preferences {
  zone: Zone;
  setZone: (zone: Zone) => void;
  keys: boolean;
  setKeys: (on: boolean) => void;
}

const PreferencesContext = createContext<Preferences>({ zone: 'utc', setZone: () => {}, keys: true, setKeys: () => {} });

function stored<T extends string>(key: string, fallback: T): T {
  try {
    return (localStorage.getItem(key) as T | null) ?? fallback;
  } catch {
    return fallback;
  }
}

function store(key: string, value: string) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Private windows may forbid it; the preference then lasts as long as the page.
  }
}

export function PreferencesProvider({ children }: { children: ReactNode }) {
  const [zone, setZoneState] = useState<Zone>(stored<Zone>('skopos.zone', 'utc'));
  const [keys, setKeysState] = useState(stored('skopos.keys', 'on') === 'on');
  const value = useMemo<Preferences>(
    () => ({
      zone,
      setZone: (z) => { setZoneState(z); store('skopos.zone', z); },
      keys,
      setKeys: (on) => { setKeysState(on); store('skopos.keys', on ? 'on' : 'off'); },
    }),
    [zone, keys],
  );
  return <PreferencesContext.Provider value={value}>{children}</PreferencesContext.Provider>;
}

export const usePreferences = () => useContext(PreferencesContext);

/** Refresh while live, milliseconds. */
export const LIVE_INTERVAL = 5_000;

const TickContext = createContext(0);

/** Advances while the page is live and visible: hidden tabs stop asking. */
export function TickProvider({ children }: { children: ReactNode }) {
  const search = useSearch({ strict: false }) as GlobalSearch;
  const [tick, setTick] = useState(0);
  const live = search.live === 1;
  useEffect(() => {
    if (!live) return;
    const timer = setInterval(() => { if (!document.hidden) setTick((t) => t + 1); }, LIVE_INTERVAL);
    return () => clearInterval(timer);
  }, [live]);
  return <TickContext.Provider value={tick}>{children}</TickContext.Provider>;
}

export const useTick = () => useContext(TickContext);

/** The time range in force. `from` and `to` go to the server as they are; `bounds` are milliseconds for charts. */
export function useRange() {
  const search = useSearch({ strict: false }) as GlobalSearch;
  const tick = useTick();
  const navigate = useNavigate();
  const range: Range = { from: search.from ?? DEFAULT_RANGE.from, to: search.to ?? DEFAULT_RANGE.to };
  return useMemo(() => {
    const now = Date.now();
    return {
      range,
      relative: isRelative(range),
      bounds: bounds(range, now),
      env: search.env,
      tick,
      /** Zooming pushes, so that Back undoes it. */
      set: (next: Range) => void navigate({ to: '.', search: ((prev: Record<string, unknown>) => ({ ...prev, from: next.from, to: next.to, live: next.to === 'now' ? prev.live : undefined })) as never }),
      /** Query parameters every request carries. */
      params: { from: range.from, to: range.to, env: search.env },
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [range.from, range.to, search.env, tick, navigate]);
}

/** Sets parameters of this page; `replace` for selections, push for steps. */
export function useSetSearch() {
  const navigate = useNavigate();
  return (next: Record<string, unknown>, replace = false) =>
    void navigate({ to: '.', replace, search: ((prev: Record<string, unknown>) => ({ ...prev, ...next })) as never });
}
