// A part of the agent's answer: deltas may come twice, late or out of order. Offsets count Unicode
// code points, where JavaScript's own lengths count UTF-16 units.

import { dataOf } from "./shapes.js";

const lengthOf = (text) => new TextEncoder().encode(text).length;

// What a text says that ought to be JSON, null where it isn't: a sandbox wrote it.
function parsed(json) {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}

export class Part {
  #text = "";
  #length = 0; // in code points
  #early = new Map();

  kind = "text";
  data = dataOf({ type: "agent.event" });
  final = false;
  cut = ""; // how it ended before its end: stopped, lost
  told = false; // elsewhere
  lead = ""; // what it is called before its text
  #input = null; // all that a tool was given, by its name

  // It is not at its end.
  get open() {
    if (this.cut || ["patch", "error", "usage", "other"].includes(this.kind)) return false;
    return this.kind === "tool" ? this.data.status === "running" : !this.final;
  }

  get text() {
    return this.#text;
  }

  // Takes in a delta, or keeps it until what comes before it is there.
  grow(offset, text) {
    if (this.final) return;
    this.#early.set(offset, [...text]);
    for (const start of [...this.#early.keys()].sort((a, b) => a - b)) {
      if (start > this.#length) break;
      const news = this.#early.get(start).slice(this.#length - start);
      this.#text += news.join("");
      this.#length += news.length;
      this.#early.delete(start);
    }
  }

  // Takes in an agent.event: for text the whole and final state, or its beginning, where what was streamed may be more.
  settle(data) {
    this.data = this.#input?.ref === data.inputRef ? { ...data, input: this.#input?.all ?? data.input } : data;
    const told = data.kind === "tool" ? data.output || null : data.text;
    if (told === null) return;
    this.#early.clear();
    this.final = true;
    if (!(data.textRef && this.#text.startsWith(told))) this.#text = told;
  }

  // Takes in more of a long text than its event had, all from its beginning on, and what is told of its end.
  extend(text, { bytes, truncated }) {
    if (text.length > this.#text.length) this.#text = text;
    this.data = { ...this.data, textBytes: bytes, truncated };
    this.changed = true;
  }

  // Takes in the JSON of all that a tool was given, once it has come, and what is told of its end.
  extendInput(json, { nextCursor, truncated }) {
    if (nextCursor) return;
    const given = truncated ? null : parsed(json);
    const all = given ?? this.data.input;
    this.#input = { ref: this.data.inputRef, all };
    this.data = dataOf({ type: "agent.event", data: { ...this.data, input: all, truncated: !given || this.data.truncated } });
    this.changed = true;
  }

  // How many bytes of its text are there to be asked for, of what it was given, and of both.
  get missingText() {
    const { textRef, textBytes } = this.data;
    return textRef ? Math.max(0, textBytes - lengthOf(this.#text)) : 0;
  }

  get missingInput() {
    const { inputRef, inputBytes } = this.data;
    return inputRef && this.#input?.ref !== inputRef ? (inputBytes ?? 0) : 0;
  }

  get missing() {
    return this.missingText + this.missingInput;
  }
}
