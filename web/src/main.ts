// The page opens: its data are read, and the parts put together.

import { element } from "./dom";
import { Page } from "./page";
import { packed } from "./report";

async function open(): Promise<void> {
  const root = document.getElementById("page");
  if (!root) return;
  try {
    const read = await packed();
    document.title = `${read.head.title} · spanlight`;
    const page = new Page(read, root);
    // For scripts that measure and compare what is drawn.
    Object.assign(globalThis, { spanlight: page });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    root.replaceChildren(element("p", { class: "failed" }, `This page cannot be shown: ${reason}. Write it again, or open it in a current browser.`));
  }
}

void open();
