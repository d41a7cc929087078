// How a preparation looks: the whole of it, its steps, what they say, and the receipt.

import { element, setText } from "./dom.js";
import { attemptsOf, closeLogs, findEarlier, LOGGED, openLog, toggleLog } from "./logs.js";
import { $ } from "./page.js";
import { ago } from "./rest.js";
import { told } from "./status.js";

const MARKS = { pending: "·", running: "", completed: "✓", failed: "✗", skipped: "–", cancelled: "–" };
const ENDED = ["completed", "failed", "skipped", "cancelled"];

const duration = (ms) => {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60000)} min ${Math.round((ms % 60000) / 1000)} s`;
};

// No more exact than a guess is.
const about = (ms) => (ms < 90_000 ? `about ${Math.max(1, Math.round(ms / 1000))} s` : `about ${Math.round(ms / 60_000)} min`);

export function drawSteps(view) {
  const tree = view.receipt?.preparedTree;
  const saved = tree ? `; a prepared tree of ${ago(tree.age)} saved ${duration(tree.saved)}` : "";
  const total = view.receipt ? ` in ${duration(view.receipt.totalMs)}${saved}` : "";
  const stopped = told(view).status === "stopped";
  const words = {
    preparing: "Preparing",
    prepared: `Prepared${total}`,
    failed: stopped ? "The preparation was stopped" : "The preparation failed",
  };
  setText($("summary"), words[view.status] ?? `Ready${total}`);
  drawWhole(view);
  const list = $("steps");
  // A log is one attempt's.
  if (list.dataset.attempt !== `${view.attempt}`) {
    closeLogs();
    list.dataset.attempt = view.attempt;
    if (view.attempt > 1) findEarlier(() => drawSteps(view));
  }
  for (const [name, step] of view.steps) {
    const row = rowOf(list, name, step);
    drawStep(row, step, stopped);
    const button = row.querySelector(":scope > .more");
    if (button) button.hidden = !attemptsOf(view, name).length;
  }
  const { failure } = view;
  // Why it failed is mostly at the log's end.
  if (failure && !stopped && LOGGED.has(failure.step) && list.dataset.failed !== `${view.attempt}`) {
    list.dataset.failed = `${view.attempt}`;
    openLog(list.querySelector(`[data-step="${CSS.escape(failure.step)}"]`), failure.step);
  }
}

function rowOf(list, name, step) {
  const known = list.querySelector(`[data-step="${CSS.escape(name)}"]`);
  if (known) return known;
  const row = element("li");
  row.dataset.step = name;
  const mark = element("span", "mark");
  mark.setAttribute("role", "img");
  row.append(mark, element("span", "title", step.title), element("span", "time"), element("span", "detail", element("progress"), element("span")));
  row.querySelector("progress").max = 100;
  if (LOGGED.has(name)) {
    const button = element("button", "more", "Log");
    button.type = "button";
    button.setAttribute("aria-label", `Log: ${step.title}`);
    button.setAttribute("aria-expanded", "false");
    button.onclick = () => toggleLog(row, name);
    row.append(button);
  }
  list.append(row);
  return row;
}

// How long a running step has taken until now, and how long it is still expected to.
function clock({ status, elapsed, eta, seenAt }) {
  const since = status === "running" ? performance.now() - seenAt : 0;
  return { spent: elapsed + since, left: eta === null ? null : Math.max(0, eta - since) };
}

function drawWhole(view) {
  const steps = [...view.steps.values()];
  const running = steps.find(({ status }) => status === "running");
  $("whole").hidden = view.status !== "preparing";
  if ($("whole").hidden) return;
  let done = steps.filter(({ status }) => ENDED.includes(status)).length;
  if (running) {
    const { spent, left } = clock(running);
    done += running.percent !== undefined && running.percent !== null ? running.percent / 100 : left === null ? 0 : spent / (spent + left + 1);
  }
  $("whole").max = steps.length;
  $("whole").value = done;
}

function drawStep(row, step, stopped) {
  const [mark, , time, detail] = row.children;
  const [progress, text] = detail.children;
  const running = step.status === "running";
  const status = stopped && step.status === "failed" ? "cancelled" : step.status;
  row.dataset.status = status;
  setText(mark, MARKS[status] ?? "");
  mark.setAttribute("aria-label", status === "cancelled" ? "stopped" : status);
  const { spent, left } = clock(step);
  const still = running && left ? `, ${about(left)} left` : "";
  setText(time, ["pending", "skipped"].includes(step.status) ? "" : `${duration(spent)}${still}`);
  progress.hidden = !running || step.percent === undefined || step.percent === null;
  progress.value = step.percent ?? 0;
  progress.setAttribute("aria-label", step.title);
  const output = step.output.split(/[\r\n]+/).findLast((line) => line.trim());
  setText(text, (running && output) || (step.status === "pending" ? "" : (step.message ?? "")));
}

// A screen reader hears each step once, not each second.
export function tellSteps(view) {
  const running = [...view.steps.values()].find(({ status }) => status === "running");
  setText($("progress"), view.status === "preparing" && running ? running.title : "");
}
