// A table that is longer than is looked at together: one to who reads it, whose rows come piece by piece.

import { element } from "./dom.js";
import { morph } from "./morph.js";

export class Table {
  #body;
  #done = 0; // rows that are never drawn again

  // `node` is one that was drawn as nodesOf does, of its head and its first rows.
  constructor(node) {
    // The rows that are being written are in it, and nobody wants to hear them letter by letter.
    node.ariaLive = "off";
    this.#body = node.querySelector("tbody") ?? node.querySelector("table").appendChild(element("tbody"));
    this.#done = this.#body.childNodes.length;
  }

  // Takes the rows that come next, out of a table that begins with the same head.
  add(node) {
    this.showUnfinished(node);
    this.#done = this.#body.childNodes.length;
  }

  // Those that are drawn again.
  showUnfinished(node) {
    morph(this.#body, [...(node.querySelector("tbody")?.childNodes ?? [])], this.#done);
  }
}
