/** The URL is the state. Parameters every page keeps, and their reading from whatever somebody typed. */

export interface GlobalSearch {
  /** Deployment environment, absent for all. */
  env?: string;
  from?: string;
  to?: string;
  /** Refresh by itself. */
  live?: 1;
}

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : typeof value === 'number' ? String(value) : undefined);

export function globalSearch(search: Record<string, unknown>): GlobalSearch {
  const out: GlobalSearch = {};
  const env = text(search.env);
  const from = text(search.from);
  const to = text(search.to);
  if (env) out.env = env;
  if (from) out.from = from;
  if (to) out.to = to;
  if (search.live === 1 || search.live === '1') out.live = 1;
  return out;
}

/** Reads the named text parameters of a route beside the global ones. */
export function pageSearch<K extends string>(...keys: K[]) {
  return (search: Record<string, unknown>): GlobalSearch & { [P in K]?: string } => {
    const out: Record<string, unknown> = { ...globalSearch(search) };
    for (const key of keys) {
      const value = text(search[key]);
      if (value !== undefined) out[key] = value;
    }
    return out as GlobalSearch & { [P in K]?: string };
  };
}

/** A page whose parameters are partly named by what it shows: those of the given prefixes are kept as well. */
export function prefixedSearch<K extends string>(prefixes: string[], ...keys: K[]) {
  const known = pageSearch(...keys);
  return (search: Record<string, unknown>): GlobalSearch & { [P in K]?: string } => {
    const out: Record<string, unknown> = { ...known(search) };
    for (const [key, value] of Object.entries(search)) {
      // An empty value is one: a text variable that was cleared.
      const shown = value === '' ? '' : text(value);
      if (prefixes.some((p) => key.startsWith(p)) && shown !== undefined) out[key] = shown;
    }
    return out as GlobalSearch & { [P in K]?: string };
  };
}

export const DEFAULT_RANGE = { from: '-1h', to: 'now' };
