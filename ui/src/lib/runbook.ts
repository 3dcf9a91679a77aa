/** How a runbook is laid out. */

/** A section's text and steps in the order they were written in: the server marks where a step stood. */
export function parts(section: { html: string; steps: string[] }): (string | { step: string })[] {
  const out: (string | { step: string })[] = [];
  section.html.split(/<div data-step="([^"]*)"><\/div>/).forEach((piece, i) => {
    if (i % 2 === 1) out.push({ step: piece });
    else if (piece.trim()) out.push(piece);
  });
  // None is lost, whatever the text says.
  for (const step of section.steps) if (!out.some((part) => typeof part !== 'string' && part.step === step)) out.push({ step });
  return out;
}
