// The top of the page: the verdict in words, the budget as a waterfall, and what to do.

import { element } from "./dom";
import type { BudgetPart, Head } from "./report";
import { share, time } from "./units";

/** Colours of the parts of a budget: work, what it lost, communication and copies, idle time. */
function kind(part: string): string {
  if (part.endsWith("_lost")) return "lost";
  if (/idle|host|launch|synchron|wait|starved/.test(part)) return "idle";
  if (/communication|collective|copies|transfer/.test(part)) return "moved";
  return "work";
}

/** The budget of the median step, a block for each device. */
function waterfalls(head: Head): HTMLElement[] {
  const devices = [...new Set(head.budget.map(({ device }) => device))];
  return devices.map((device) => waterfall(head, head.budget.filter((part) => part.device === device)));
}

function waterfall(head: Head, parts: BudgetPart[]): HTMLElement {
  const whole = parts.reduce((sum, part) => sum + part.ns, 0);
  const rows = element("div", { class: "waterfall", role: "table" });
  let before = 0;
  for (const part of parts) {
    const bar = element("i", { class: `bar ${kind(part.part)}` });
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
  const [{ step, device }] = parts;
  const of = head.median_step === null ? "the recording as a whole" : `step ${step}, the median one`;
  const where = device === "cpu" ? "" : ` · GPU ${device}`;
  return element(
    "section",
    { class: "card budget" },
    element("h2", {}, "Where the wall time went", element("small", {}, `${time(whole)} · ${of}${where}`)),
    rows,
  );
}

function advice(head: Head): HTMLElement | null {
  const rest = head.rest ?? [];
  if (head.advice.length + rest.length === 0) return null;
  const list = element("ol");
  for (const { text, gain, command } of head.advice)
    list.append(
      element(
        "li",
        {},
        element("p", {}, text),
        gain !== null && element("p", { class: "gain" }, gain),
        command !== null && element("code", {}, command),
      ),
    );
  return element("section", { class: "card advice" }, element("h2", {}, "What to do"), list, ...rest.map((line) => element("p", { class: "rest" }, line)));
}

export function summary(head: Head): HTMLElement {
  return element(
    "header",
    { class: "summary" },
    element("h1", {}, head.title),
    element("p", { class: "described" }, head.described.join(" · ")),
    element("p", { class: "verdict", id: "verdict" }, head.verdict),
    element("div", { class: "beside" }, element("div", { class: "budgets" }, ...waterfalls(head)), advice(head)),
  );
}
