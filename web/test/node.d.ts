/** What the tests use of node, of whose types they need no more. */
declare module "node:fs" {
  export function readFileSync(path: string, encoding: "utf8"): string;
}
