// The logs of a preparation's steps: one to a step, opened beside it, live while the step runs.

import { onceColoured, uncoloured } from "./ansi.js";
import { pathOf } from "./api.js";
import { element, setText } from "./dom.js";
import { $, state } from "./page.js";
import { SHOWN, Scroll } from "./scroll.js";

// The steps whose commands print something.
export const LOGGED = new Set(["clone", "branch", "restore", "setup", "agent"]);

const LIVE = 1500; // between two looks at a log that grows
const AFTER = 20; // looks at one that doesn't come to its end though its step did

let open = new Map(); // the logs on display, by step
let earlier = new Map(); // the earlier attempts that left a log, newest first, by step

export function closeLogs() {
  for (const log of open.values()) log.close();
  open = new Map();
  earlier = new Map();
  delete $("steps").dataset.failed;
  delete $("steps").dataset.attempt;
}

// Looks what the attempts before left; `found` is called once that is known.
export async function findEarlier(found) {
  const mine = state.current;
  const { attempt } = mine.view;
  const answer = await mine.api.call("GET", pathOf(mine.id, "logs")).catch(() => null);
  if (!answer || state.current !== mine || mine.view.attempt !== attempt) return;
  for (const { attemptNumber, step } of answer.items) {
    if (attemptNumber < attempt) earlier.set(step, [attemptNumber, ...(earlier.get(step) ?? [])]);
  }
  found();
}

// The attempts whose log of a step can be had, newest first: what is skipped was done before, if at all.
export function attemptsOf(view, step) {
  const before = earlier.get(step) ?? [];
  return ["pending", "skipped"].includes(view.step(step).status) ? before : [view.attempt, ...before];
}

export function toggleLog(row, step) {
  if (open.has(step)) {
    open.get(step).close();
    open.delete(step);
  } else {
    openLog(row, step);
  }
}

export function openLog(row, step, attempt = attemptsOf(state.current.view, step)[0] ?? state.current.view.attempt) {
  open.get(step)?.close();
  const log = new Log(row, step, state.current, attempt);
  open.set(step, log);
  log.read();
}

class Log {
  #stop = new AbortController();
  #pieces = [];
  #bytes = 0;
  #node;
  #button;
  #said = element("span");
  #only = element("input");
  #cut = element("span", "note");
  #text = element("pre");
  #scroll = new Scroll(this.#text, this.#cut);
  #unseen = "";

  constructor(row, step, mine, attempt) {
    this.mine = mine;
    this.step = step;
    this.attempt = attempt;
    const title = mine.view.step(step).title;
    this.#only.type = "search";
    this.#only.placeholder = "Only lines with…";
    this.#only.setAttribute("aria-label", `Only lines of this log with: ${title}`);
    this.#only.oninput = () => this.#redraw();
    for (const said of [this.#said, this.#cut]) said.setAttribute("role", "status");
    const save = element("button", "", "Download");
    save.type = "button";
    save.onclick = () => this.#save();
    this.#text.tabIndex = 0;
    this.#text.setAttribute("role", "region");
    this.#text.setAttribute("aria-label", `Log of: ${title}`);
    this.#node = element("div", "log", element("div", "choices", ...this.#attempts(row), this.#only, save, this.#said, this.#cut), this.#text);
    row.append(this.#node);
    this.#button = row.querySelector(".more");
    this.#button.setAttribute("aria-expanded", "true");
    onceColoured(() => this.#recolour());
  }

  // Which attempt's it is, where there are several, or it is not of the last.
  #attempts(row) {
    const { view } = this.mine;
    const all = attemptsOf(view, this.step);
    if (all.every((attempt) => attempt === view.attempt)) return [];
    const choice = element("select", "", ...all.map((attempt) => new Option(`Attempt ${attempt}`, attempt, false, attempt === this.attempt)));
    choice.setAttribute("aria-label", "The attempt that this log is of");
    choice.onchange = () => {
      openLog(row, this.step, Number(choice.value));
      row.querySelector("select").focus();
    };
    return [choice];
  }

  close() {
    this.#stop.abort();
    this.#button.setAttribute("aria-expanded", "false");
    this.#node.remove();
  }

  // Until its end is here, the panel is closed, or nothing more is to be hoped for.
  async read() {
    const path = pathOf(this.mine.id, "texts", `log.${this.attempt}.${this.step}`);
    let cursor = "";
    let vain = 0;
    while (!this.#gone) {
      let page;
      try {
        page = await this.mine.api.call("GET", `${path}${cursor && `?cursor=${encodeURIComponent(cursor)}`}`);
      } catch (error) {
        if (this.#gone) return;
        if (!error.retryable && error.status !== 404) return this.#say(`The log can't be had: ${error.message}`);
        if (!this.#runs) return this.#pieces.length ? this.#say("The rest of this log can't be had.") : this.#fallBack();
        page = { items: [], complete: false, nextCursor: null };
      }
      if (this.#gone) return;
      for (const { offset, text } of page.items) this.#take(offset, text);
      // Of what is far from its end nothing would be left on display.
      if (page.items.length && !(page.bytes - this.#bytes > SHOWN)) this.#draw();
      cursor = page.nextCursor ?? cursor;
      if (page.complete && !page.nextCursor) return this.#end(page.truncated);
      if (page.items.length && page.nextCursor) continue;
      vain = this.#runs ? 0 : vain + 1;
      if (vain > AFTER) return this.#say("The rest of this log did not come.");
      this.#say(this.#runs ? "Live" : "");
      await new Promise((done) => setTimeout(done, LIVE));
    }
  }

  get #gone() {
    return this.#stop.signal.aborted || state.current !== this.mine;
  }

  get #runs() {
    const { view } = this.mine;
    return view.attempt === this.attempt && view.step(this.step).status === "running";
  }

  // A page that is asked for again may bring what is here already.
  #take(offset, text) {
    // Another try of the step began it anew.
    if (offset === 0) {
      [this.#pieces, this.#bytes] = [[], 0];
      this.#redraw();
    }
    if (offset < this.#bytes) return;
    this.#pieces.push(text);
    this.#unseen += text;
    this.#bytes = offset + new TextEncoder().encode(text).length;
  }

  // What the stream told is better than nothing.
  #fallBack() {
    const { view } = this.mine;
    const output = this.attempt === view.attempt && view.step(this.step).output;
    if (output) this.#pieces = [output];
    this.#redraw();
    this.#scroll.end();
    this.#say(output ? "The end of what it printed" : "It printed nothing.");
  }

  #end(truncated) {
    this.#draw();
    this.#scroll.end();
    this.#say(truncated ? "This is all that was kept: it printed more, or its sandbox ended." : this.#pieces.length ? "" : "It printed nothing.");
  }

  // What is said is of all that is here.
  #say(text) {
    this.#draw();
    setText(this.#said, text);
  }

  get #whole() {
    return this.#pieces.join("");
  }

  #draw() {
    if (!this.#unseen) return;
    this.#scroll.print(this.#unseen);
    this.#unseen = "";
  }

  #redraw() {
    this.#scroll.clear(this.#only.value);
    this.#unseen = this.#whole;
    this.#draw();
  }

  #recolour() {
    if (!this.#whole.includes("\x1b")) return;
    this.#unseen = "";
    this.#scroll.again(this.#whole);
  }

  #save() {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([uncoloured(this.#whole)], { type: "text/plain" }));
    link.download = `${this.mine.id}.${this.attempt}.${this.step}.log.txt`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), LIVE);
  }
}
