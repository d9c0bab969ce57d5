// The top of the page: the verdict in words, the budget as a waterfall, and what to do.

import { element } from "./dom";
import type { BudgetPart, Head } from "./report";
import { share, time } from "./units";

/** So much advice stands open; what gains less is a click away. */
const AT_ONCE = 2;

/** Colours of the parts of a budget: work, what it lost, communication and copies, idle time. */
function kind({ part, label }: BudgetPart): string {
  if (part.endsWith("_lost")) return "lost";
  if (label.startsWith("idle")) return "idle";
  if (/communication|collective|copies|transfer/.test(part)) return "moved";
  return "work";
}

const keyOf = ({ process, device }: BudgetPart): string => `${process} ${device}`;

/** The budget of the median step: a device's at a time. */
function budget(head: Head): HTMLElement | null {
  const keys = [...new Set(head.budget.map(keyOf))];
  if (keys.length === 0) return null;
  const of = keys.map((key) => head.budget.filter((part) => keyOf(part) === key));
  const processes = new Set(head.budget.map(({ process }) => process)).size;
  const blocks = of.map(waterfall);
  const choice = element("div", { class: "choice", role: "group", "aria-label": "device" });
  const show = (at: number): void => {
    blocks.forEach((block, i) => (block.hidden = i !== at));
    [...choice.children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === at)));
  };
  for (const [at, [{ device, process }]] of of.entries()) {
    const label = `${device === "cpu" ? "CPU" : `GPU ${device}`}${processes > 1 ? ` · process ${process}` : ""}`;
    choice.append(element("button", { type: "button", onclick: () => show(at) }, label));
  }
  show(0);
  const [{ step }] = head.budget;
  const what = head.median_step === null ? "the recording as a whole" : `step ${step}, the median one`;
  const whole = time(of[0].reduce((sum, part) => sum + part.ns, 0));
  const title = element("h2", {}, "Where the wall time went", element("small", {}, `${whole} · ${what}`));
  const top = element("div", { class: "card-top" }, title, keys.length > 1 && choice);
  return element("section", { class: "card budget" }, top, ...blocks);
}

function waterfall(parts: BudgetPart[]): HTMLElement {
  const whole = parts.reduce((sum, part) => sum + part.ns, 0);
  const rows = element("div", { class: "waterfall", role: "table" });
  let before = 0;
  for (const part of parts) {
    const bar = element("i", { class: `bar ${kind(part)}` });
    bar.style.left = `${(before / whole) * 100}%`;
    bar.style.width = `max(2px, ${(part.ns / whole) * 100}%)`;
    before += part.ns;
    rows.append(
      element(
        "div",
        { class: "row", role: "row" },
        element("span", { class: "label", role: "cell" }, part.label),
        element("span", { class: "track", "aria-hidden": "true" }, bar),
        element("span", { class: "ns", role: "cell" }, time(part.ns)),
        element("span", { class: "share", role: "cell" }, share(part.share)),
      ),
    );
  }
  return rows;
}

function advice(head: Head, show: (range: string) => void): HTMLElement | null {
  const rest = head.rest ?? [];
  if (head.advice.length + rest.length === 0) return null;
  const items = head.advice.map(({ text, gain, command, range, saved_ns: saved }) =>
    element(
      "li",
      {},
      element("p", {}, text),
      gain !== null && element("p", { class: (saved ?? 0) > 0 ? "gain" : "no-gain" }, gain),
      command !== null && element("code", {}, command),
      range && element("button", { type: "button", class: "link", onclick: () => show(range) }, `show ${range}`),
    ),
  );
  const lines = rest.map((line) => element("p", { class: "rest" }, line));
  const more = items.length > AT_ONCE && [
    element("summary", {}, `${items.length - AT_ONCE} more, and what they gain together`),
    element("ol", { start: AT_ONCE + 1 }, ...items.slice(AT_ONCE)),
    ...lines,
  ];
  return element(
    "section",
    { class: "card advice" },
    element("h2", {}, items.length > 0 ? "What to do" : "To know"),
    element("ol", {}, ...(more ? items.slice(0, AT_ONCE) : items)),
    ...(more ? [element("details", {}, ...more)] : lines),
  );
}

/** What the report is, but for its name, which is the heading. */
const described = ({ title, described: lines }: Head): string =>
  lines.map((line) => (line.startsWith(`${title} · `) ? line.slice(title.length + 3) : line)).join(" · ");

/** The top of the page; `show` shows a range on the time line. */
export function summary(head: Head, show: (range: string) => void): HTMLElement {
  return element(
    "header",
    { class: "summary" },
    element("h1", {}, head.title),
    element("p", { class: "described" }, described(head)),
    element("p", { class: "verdict", id: "verdict" }, head.verdict),
    element("div", { class: "beside" }, budget(head), advice(head, show)),
  );
}
