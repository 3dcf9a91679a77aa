/** A service keeps its colour within a page: by the order of its name among those the page has shown. */
const given = new Map<string, number>();

export function serviceColour(service: string): string {
  let n = given.get(service);
  if (n === undefined) {
    n = given.size;
    given.set(service, n);
  }
  return n < 6 ? `var(--s${n + 1})` : 'var(--s-rest)';
}
