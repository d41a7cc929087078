// A part of the agent's answer: deltas may come twice, late or out of order. Offsets count Unicode
// code points, where JavaScript's own lengths count UTF-16 units, so text is kept as code points.

import { dataOf } from "./shapes.js";

// An open part is drawn whole with each frame, so only so many characters of it; a final one in full.
const OPEN_LIMIT = 100000;

export class Part {
  #characters = [];
  #early = new Map();

  kind = "text";
  data = dataOf({ type: "agent.event" });
  final = false;

  get text() {
    return this.#characters.join("");
  }

  // What is to be drawn of it now.
  get shown() {
    if (this.final || this.#characters.length <= OPEN_LIMIT) return this.text;
    return `${this.#characters.slice(0, OPEN_LIMIT).join("")} …`;
  }

  // Takes in a delta, or keeps it until what comes before it is there.
  grow(offset, text) {
    if (this.final) return;
    this.#early.set(offset, [...text]);
    for (const start of [...this.#early.keys()].sort((a, b) => a - b)) {
      const have = this.#characters.length;
      if (start > have) break;
      for (const character of this.#early.get(start).slice(have - start)) {
        this.#characters.push(character);
      }
      this.#early.delete(start);
    }
  }

  // Takes in an agent.event: for text the whole and final state.
  settle(data) {
    this.data = data;
    if (data.text !== null) {
      this.#characters = [...data.text];
      this.#early.clear();
      this.final = true;
    }
  }
}
