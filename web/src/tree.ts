// The tree of ranges out of its table, and where each lies in an icicle.

import type { Cell, Table } from "./report";

export interface Node {
  name: string;
  row: Cell[];
  parent: Node | null;
  children: Node[];
  depth: number;
}

export interface Placed {
  node: Node;
  /** From 0 to 1 of the whole width. */
  left: number;
  width: number;
}

/** The roots of a table whose rows stand depth first, each with its `depth`. */
export function roots(table: Table): Node[] {
  const [name, depth] = [table.columns.indexOf("range"), table.columns.indexOf("depth")];
  const found: Node[] = [];
  const open: Node[] = [];
  for (const row of table.rows) {
    const level = Math.max(0, Math.min(Number(row[depth]) || 0, open.length));
    open.length = level;
    const parent = open.at(-1) ?? null;
    const node = { name: String(row[name]), row, parent, children: [], depth: level };
    (parent ? parent.children : found).push(node);
    open.push(node);
  }
  return found;
}

/** A value of each node that is never less than that of its children together. */
export function values(all: Node[], column: number): Map<Node, number> {
  const found = new Map<Node, number>();
  const order: Node[] = [];
  const waiting = [...all];
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    order.push(node);
    waiting.push(...node.children);
  }
  for (const node of order.reverse()) {
    const inside = node.children.reduce((sum, child) => sum + (found.get(child) ?? 0), 0);
    found.set(node, Math.max(Number(node.row[column]) || 0, inside));
  }
  return found;
}

/** Every node at or under `top` (all roots without) that is at least `least` of the whole wide. */
export function icicle(all: Node[], top: Node | null, value: Map<Node, number>, least: number): Placed[] {
  const placed: Placed[] = [];
  const heads = top ? [top] : all;
  const whole = heads.reduce((sum, node) => sum + value.get(node)!, 0);
  if (whole <= 0) return placed;
  const put = (nodes: Node[], left: number): void => {
    let at = left;
    for (const node of [...nodes].sort((a, b) => value.get(b)! - value.get(a)!)) {
      const width = value.get(node)! / whole;
      if (width >= least && width > 0) {
        placed.push({ node, left: at, width });
        waiting.push([node.children, at]);
      }
      at += width;
    }
  };
  const waiting: [Node[], number][] = [[heads, 0]];
  for (let next = waiting.pop(); next; next = waiting.pop()) put(...next);
  return placed;
}
