/** A trace's spans as a tree in display order. Orphans, cycles and thousands of spans are all fine. */
import type { SpanRow } from '../api/types';

export interface Node {
  span: SpanRow;
  depth: number;
  children: number;
  /** Row indices after this one that belong to it. */
  descendants: number;
  /** Nanoseconds after the trace's start. */
  offset: number;
  missingParent: boolean;
}

export function build(spans: SpanRow[]): { nodes: Node[]; start: bigint; duration: number } {
  if (spans.length === 0) return { nodes: [], start: 0n, duration: 0 };
  const byId = new Map(spans.map((s) => [s.span_id, s]));
  const children = new Map<string, SpanRow[]>();
  const roots: SpanRow[] = [];
  for (const span of spans) {
    const parent = span.parent_span_id;
    if (parent && parent !== span.span_id && byId.has(parent)) {
      const list = children.get(parent);
      if (list) list.push(span);
      else children.set(parent, [span]);
    } else roots.push(span);
  }
  const begin = (s: SpanRow) => BigInt(s.start);
  const start = spans.reduce((m, s) => (begin(s) < m ? begin(s) : m), begin(spans[0]!));
  const order = (a: SpanRow, b: SpanRow) => (begin(a) < begin(b) ? -1 : begin(a) > begin(b) ? 1 : 0);
  roots.sort(order);
  for (const list of children.values()) list.sort(order);
  const nodes: Node[] = [];
  const seen = new Set<string>();
  const visit = (first: SpanRow) => {
    const stack: { span: SpanRow; depth: number }[] = [{ span: first, depth: 0 }];
    while (stack.length) {
      const { span, depth } = stack.pop()!;
      if (seen.has(span.span_id)) continue;
      seen.add(span.span_id);
      const own = children.get(span.span_id) ?? [];
      nodes.push({ span, depth, children: own.length, descendants: 0, offset: Number(begin(span) - start), missingParent: Boolean(span.parent_span_id) && !byId.has(span.parent_span_id!) });
      for (let i = own.length - 1; i >= 0; i--) stack.push({ span: own[i]!, depth: depth + 1 });
    }
  };
  roots.forEach(visit);
  // What only a cycle holds has no root: show it all the same.
  for (const span of spans) if (!seen.has(span.span_id)) visit(span);
  for (let i = nodes.length - 1; i >= 0; i--) {
    let j = i + 1;
    while (j < nodes.length && nodes[j]!.depth > nodes[i]!.depth) j += nodes[j]!.descendants + 1;
    nodes[i]!.descendants = j - i - 1;
  }
  const duration = nodes.reduce((m, n) => Math.max(m, n.offset + n.span.duration), 0);
  return { nodes, start, duration };
}

/** The rows to show when some are folded. */
export function visible(nodes: Node[], folded: ReadonlySet<string>): Node[] {
  const out: Node[] = [];
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i]!;
    out.push(node);
    if (folded.has(node.span.span_id)) i += node.descendants;
  }
  return out;
}

/** Rounded positions of an axis from 0 to `duration` nanoseconds. */
export function ticks(duration: number, wanted = 5): number[] {
  if (duration <= 0) return [0];
  const raw = duration / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw) ?? power * 10;
  const out: number[] = [];
  for (let t = 0; t < duration * 0.98; t += step) out.push(t);
  return out;
}
