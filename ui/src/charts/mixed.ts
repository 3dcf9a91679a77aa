/** A colour as it looks over a surface, without letting shine through what is below. */
export function mixed(colour: string, surface: string, share: number): string {
  // Built pages have colours in their short form: #fff.
  const channels = (hex: string) => (hex.length < 7 ? [1, 2, 3].map((i) => parseInt(hex[i]! + hex[i]!, 16)) : [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const [a, b] = [channels(colour), channels(surface)];
  return `rgb(${a.map((v, i) => Math.round(v * share + b[i]! * (1 - share))).join(',')})`;
}
