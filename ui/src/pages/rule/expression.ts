import type { Text } from '@codemirror/state';

/** Where the expression stands that a place is in: on the line of its key, or in the block below it. */
export function expressionAt(doc: Text, pos: number): { from: number; to: number } | null {
  const line = doc.lineAt(pos);
  const own = /^(\s*(?:- )?expr:\s+)(?![|>])/.exec(line.text);
  if (own) return pos >= line.from + own[1]!.length ? { from: line.from + own[1]!.length, to: line.to } : null;
  const indent = /^ */.exec(line.text)![0].length;
  let first = line.number;
  for (let n = line.number - 1; n >= 1; n -= 1) {
    const above = doc.line(n);
    if (above.text.trim() === '') continue;
    const key = /^(\s*(?:- )?)expr:\s*[|>]/.exec(above.text);
    if (key) return indent > key[1]!.length || line.text.trim() === '' ? { from: doc.line(first).from, to: line.to } : null;
    if (/^\s*(- )?[\w.]+:(\s|$)/.test(above.text)) return null;
    first = n;
  }
  return null;
}
