// How a preparation looks: its steps, what they say, and the receipt.

import { element, setText } from "./dom.js";
import { ago } from "./rest.js";

const MARKS = { pending: "·", running: "", completed: "✓", failed: "✗", skipped: "–", cancelled: "✗" };

const duration = (ms) => {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60000)} min ${Math.round((ms % 60000) / 1000)} s`;
};

export function drawSteps(summary, list, view) {
  const tree = view.receipt?.preparedTree;
  const saved = tree ? `; a prepared tree of ${ago(tree.age)} saved ${duration(tree.saved)}` : "";
  const total = view.receipt ? ` in ${duration(view.receipt.totalMs)}${saved}` : "";
  const words = { preparing: "Preparing", prepared: `Prepared${total}`, failed: "The preparation failed" };
  setText(summary, words[view.status] ?? `Ready${total}`);
  for (const [name, step] of view.steps) {
    let row = list.querySelector(`[data-step="${CSS.escape(name)}"]`);
    if (!row) {
      row = element("li");
      row.dataset.step = name;
      row.append(element("span", "mark"), element("span", "title", step.title), element("span", "time"), element("span", "detail"));
      row.lastChild.append(element("progress"), element("span"));
      row.lastChild.firstChild.max = 100;
      list.append(row);
    }
    drawStep(row, step);
  }
}

function drawStep(row, step) {
  const [mark, , time, detail] = row.children;
  const [progress, text] = detail.children;
  const running = step.status === "running";
  row.dataset.status = step.status;
  setText(mark, MARKS[step.status] ?? "");
  mark.ariaLabel = step.status;
  const elapsed = step.elapsed + (running ? performance.now() - step.seenAt : 0);
  setText(time, ["pending", "skipped"].includes(step.status) ? "" : duration(elapsed));
  progress.hidden = !running || step.percent === undefined;
  progress.value = step.percent ?? 0;
  progress.ariaLabel = step.title;
  const output = step.output.split(/[\r\n]+/).findLast((line) => line.trim());
  setText(text, (running && output) || (step.status === "pending" ? "" : (step.message ?? "")));
}
