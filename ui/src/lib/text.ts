/** Text from outside, made safe to look at: content is text, never markup. */

// ANSI escape sequences: colours and cursor movements of terminals.
// eslint-disable-next-line no-control-regex
const ANSI = /\u001b\[[0-9;?]*[ -/]*[@-~]/g;

/** One line: ANSI stripped, control characters shown escaped, cut to `max` characters. */
export function plain(text: string, max = Infinity): string {
  const clean = text.replace(ANSI, '');
  const cut = clean.length > max ? `${clean.slice(0, max)}…` : clean;
  // eslint-disable-next-line no-control-regex
  return cut.replace(/[\u0000-\u001f\u007f]/g, (c) => (c === '\n' ? '⏎ ' : c === '\t' ? ' ' : `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`));
}

/** Several lines: line breaks kept. */
export const block = (text: string): string => text.split('\n').map((line) => plain(line)).join('\n');

export const show = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
