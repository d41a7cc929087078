// The log of a conversation: one node an item, made once and drawn anew where it changed.

import { element } from "./dom.js";
import { drawPart, newItem } from "./items.js";

export class Conversation {
  #log;
  #nodes = new Map();

  constructor(log) {
    this.#log = log;
    log.replaceChildren();
  }

  draw(view) {
    for (const item of view.items) {
      let node = this.#nodes.get(item.key);
      if (!node) {
        node = newItem(item);
        this.#nodes.set(item.key, node);
        this.#log.append(node);
      }
      if (item.part?.changed) drawPart(node, item.part);
    }
    const thinking = this.#log.querySelector(".thinking");
    const waits = view.turn && view.items.at(-1)?.kind === "user" && !view.inputs.open.size;
    if (waits && !thinking) this.#log.append(element("p", "note thinking", "The agent is thinking"));
    if (!waits) thinking?.remove();
  }
}
