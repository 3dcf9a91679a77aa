import type { ApiError } from './types';

/** A failed call, with what the server said. */
export class CallError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly requestId: string,
    readonly at?: { start: number; end: number },
  ) {
    super(message);
  }
}

export type Query = Record<string, string | number | undefined | null>;

export function path(base: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined && value !== null && value !== '') search.set(key, String(value));
  const text = search.toString();
  return text ? `${base}?${text}` : base;
}

async function read<T>(response: Response): Promise<T> {
  if (response.status === 204) return undefined as T;
  const body: unknown = await response.json().catch(() => null);
  if (response.ok) return body as T;
  const requestId = response.headers.get('x-request-id') ?? '';
  const own = (body as ApiError | null)?.error;
  if (own && typeof own === 'object') throw new CallError(response.status, own.code, own.message, own.request_id || requestId, own.at);
  // Prometheus' shape; it has no room for the place, which is in a header.
  const prom = body as { error?: string; errorType?: string } | null;
  const place = /^(\d+)-(\d+)$/.exec(response.headers.get('x-skopos-position') ?? '');
  const at = place ? { start: Number(place[1]), end: Number(place[2]) } : undefined;
  throw new CallError(response.status, prom?.errorType ?? 'http', prom?.error ?? `the server answered ${response.status}`, requestId, at);
}

export async function get<T>(url: string, signal?: AbortSignal): Promise<T> {
  return read<T>(await fetch(url, signal ? { signal } : {}));
}

/** Sends a text as it is: documents that the server reads itself. */
export async function send<T>(url: string, text: string, method = 'POST'): Promise<T> {
  return read<T>(await fetch(url, { method, headers: { 'content-type': text.trimStart().startsWith('{') ? 'application/json' : 'application/yaml' }, body: text }));
}

export async function post<T>(url: string, body: unknown = {}, method = 'POST', signal?: AbortSignal): Promise<T> {
  return read<T>(await fetch(url, { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), ...(signal ? { signal } : {}) }));
}
