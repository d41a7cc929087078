// A long text that may grow, piece by piece and in slices, so that the page goes on meanwhile: a piece is drawn once, and
// laid out as it comes into sight; what may still grow is drawn again.

import { element } from "./dom.js";
import { morph } from "./morph.js";

const PIECE = 4096; // characters, as far as lines end there
const LINE = 16_384; // of a line that is not waited for to its end
const SLICE = 12; // milliseconds at once

export class Pieces {
  #newPaint;
  #paint;
  #text = "";
  #done = 0; // how much of it is in pieces
  #rest = element("span");
  #timer = null;

  // `newPaint()` makes a function that makes of one piece after the other what is drawn of it, and is told which may still
  // grow. Nodes are named as people hear them.
  constructor(name, newPaint) {
    this.node = element("pre");
    this.node.tabIndex = 0;
    this.node.setAttribute("role", "group");
    this.node.ariaLabel = name;
    this.#newPaint = newPaint;
    this.#clear();
  }

  show(text) {
    if (text === this.#text) return;
    if (!text.startsWith(this.#text.slice(0, this.#done))) this.#clear();
    this.#text = text;
    if (this.#timer === null) this.#draw();
  }

  // All of it, as it is drawn otherwise now.
  again() {
    this.#clear();
    if (this.#timer === null) this.#draw();
  }

  #clear() {
    this.#paint = this.#newPaint();
    this.#done = 0;
    this.node.replaceChildren(this.#rest);
  }

  #draw() {
    const began = performance.now();
    let end = this.#end();
    for (; end && performance.now() - began < SLICE; end = this.#end()) {
      const piece = this.#text.slice(this.#done, end);
      this.node.insertBefore(element("span", piece.endsWith("\n") ? "piece" : "", this.#paint(piece, false)), this.#rest);
      this.#done = end;
    }
    const rest = end ? [] : this.#paint(this.#text.slice(this.#done), true);
    morph(this.#rest, rest.map((one) => (typeof one === "string" ? document.createTextNode(one) : one)));
    if (!end) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#draw();
    }, performance.now() - began);
  }

  // Where the next piece ends, just after a line if there is one; 0 where all that is left may still grow.
  #end() {
    const [text, from] = [this.#text, this.#done];
    if (text.length - from <= PIECE) return 0;
    const end = text.lastIndexOf("\n", from + PIECE - 1) + 1;
    if (end > from) return end;
    const late = text.indexOf("\n", from) + 1;
    if (late && late - from <= LINE) return late;
    if (text.length - from <= LINE) return 0;
    const half = text.charCodeAt(from + LINE - 1);
    return from + LINE - (half >= 0xd800 && half <= 0xdbff ? 1 : 0);
  }
}
