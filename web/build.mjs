// Builds ../analysis/html/page.html, one self-contained file; with --check it compares instead.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const BUILT = here("../analysis/html/page.html");
const MOST_BYTES = 200_000;

const bundled = async (options) => {
  const result = await build({ bundle: true, minify: true, write: false, ...options });
  return result.outputFiles[0].text.trim();
};
const script = await bundled({
  entryPoints: [here("src/main.ts")],
  format: "iife",
  target: "es2022",
  legalComments: "none",
});
const style = await bundled({ entryPoints: [here("src/style.css")] });
if (/<\/(script|style)/i.test(script + style)) throw new Error("script or style would end its element");

const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
const policy = `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; img-src data:`;
const parts = { POLICY: policy, LICENSES: readFileSync(here("LICENSES"), "utf8").trim(), STYLE: style, SCRIPT: script };
const page = readFileSync(here("page.html"), "utf8").replace(/%([A-Z]+)%/g, (_, name) => parts[name]);
for (const block of ["{{TABLES}}", "{{HEAD}}", "{{EVENTS}}"])
  if (page.split(block).length !== 2) throw new Error(`${block} must stand once in the page`);
const size = Buffer.byteLength(page);
if (size > MOST_BYTES) throw new Error(`the page has ${size} bytes; at most ${MOST_BYTES} are wanted`);

if (process.argv.includes("--check")) {
  if (!existsSync(BUILT) || readFileSync(BUILT, "utf8") !== page) {
    console.error("error: analysis/html/page.html is not what web/ builds; build it: make web");
    process.exit(1);
  }
} else {
  mkdirSync(dirname(BUILT), { recursive: true });
  writeFileSync(BUILT, page);
}
