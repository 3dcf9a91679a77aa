/** Adding and removing terms of the filter grammar in text, as clicks on values do. */

/** A value as the grammar takes it: quoted when it holds anything but plain characters. */
export function quote(value: string): string {
  return /^[\w./:@+-]+$/.test(value) && !value.startsWith('-') && value !== 'OR' && value !== 'AND' && value !== 'NOT' ? value : `"${value.replace(/\\/g, '\\\\').replace(/"/g, '\\"')}"`;
}

/** Splits at spaces outside of quotes and parentheses. */
export function terms(query: string): string[] {
  const out: string[] = [];
  let current = '';
  let quoted = false;
  let depth = 0;
  for (let i = 0; i < query.length; i++) {
    const c = query[i]!;
    if (c === '\\' && quoted) { current += c + (query[++i] ?? ''); continue; }
    if (c === '"') quoted = !quoted;
    if (!quoted && c === '(') depth++;
    if (!quoted && c === ')') depth--;
    if (c === ' ' && !quoted && depth <= 0) {
      if (current) out.push(current);
      current = '';
    } else current += c;
  }
  if (current) out.push(current);
  return out;
}

/** The query with `field:value` (or its exclusion) as a term, in place of a contradicting one. */
export function withTerm(query: string, field: string, value: string, exclude = false): string {
  const term = `${field}:${quote(value)}`;
  const wanted = exclude ? `-${term}` : term;
  const opposite = exclude ? term : `-${term}`;
  const kept = terms(query).filter((t) => t !== opposite && t !== wanted && (exclude || !t.startsWith(`${field}:`)));
  return [...kept, wanted].join(' ');
}

/** The query without a term. */
export function withoutTerm(query: string, term: string): string {
  return terms(query).filter((t) => t !== term).join(' ');
}
