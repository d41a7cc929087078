// An output that grows, at its end: what is there is not drawn again, and of what nobody reads to its beginning only
// the end is.

import { newPrinter, uncoloured } from "./ansi.js";
import { element, setText } from "./dom.js";

export const SHOWN = 400_000; // characters, some thousand lines

const LINE = 16_384; // of a line that doesn't end; a longer one is no longer waited for
const CUT = "Only its end is shown: Download has all of it.";
const NONE = "No line has this.";
const NEAR = 40;
const BEGUN = /\x1b(?:\[[0-?]*[ -/]*)?$/; // a code whose end is not here

// As it is seen: what drives a terminal stands between words.
const seen = (line) => (/[\x1b\r]/.test(line) ? uncoloured(line) : line).toLowerCase();

export class Scroll {
  #node;
  #cut;
  #wanted = "";
  #print = newPrinter();
  #rest = element("span");
  #line = ""; // that may still be written over
  #parts = []; // what is drawn: {node, length}
  #length = 0;

  // `cut` is where it is said that there was more.
  constructor(node, cut) {
    this.#node = node;
    this.#cut = cut;
    this.clear("");
  }

  // Empties it, for lines with these words only.
  clear(wanted) {
    this.#wanted = wanted.toLowerCase();
    this.#print = newPrinter();
    [this.#line, this.#parts, this.#length] = ["", [], 0];
    setText(this.#cut, "");
    this.#rest.replaceChildren();
    this.#node.replaceChildren(this.#rest);
  }

  // Draws all of it again; who reads it stays where they are.
  again(text) {
    const { scrollTop } = this.#node;
    const atEnd = this.#atEnd;
    this.clear(this.#wanted);
    this.print(text);
    if (!atEnd) this.#node.scrollTop = scrollTop;
  }

  print(text) {
    const node = this.#node;
    const atEnd = this.#atEnd;
    const all = this.#line + text;
    let at = all.lastIndexOf("\n") + 1;
    if (all.length - at > LINE) at = BEGUN.exec(all)?.index ?? all.length;
    this.#line = all.slice(at);
    this.#settle(all.slice(0, at));
    const matches = seen(this.#line).includes(this.#wanted);
    this.#rest.replaceChildren(element("span", "", matches ? newPrinter()(this.#line) : ""));
    this.#tell(matches);
    if (atEnd) node.scrollTop = node.scrollHeight;
  }

  // Nothing more comes: the last line need not end.
  end() {
    const line = this.#line;
    this.#line = "";
    this.#rest.replaceChildren();
    this.#settle(line);
    this.#tell(false);
  }

  // That nothing is found is said, as a log that printed nothing looks alike.
  #tell(found) {
    if (this.#cut.textContent !== CUT) setText(this.#cut, this.#wanted && !found && !this.#length ? NONE : "");
  }

  get #atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#node;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  #settle(text) {
    let kept = this.#wanted ? text.split("\n").filter((line) => seen(line).includes(this.#wanted)).join("\n") : text;
    if (!kept) return;
    if (this.#wanted && text.endsWith("\n") && !kept.endsWith("\n")) kept += "\n";
    if (kept.length > SHOWN) {
      const from = kept.length - SHOWN;
      kept = kept.slice(kept.indexOf("\n", from) + 1 || from);
      this.#drop(0);
      setText(this.#cut, CUT);
    }
    const node = element("span", kept.endsWith("\n") ? "piece" : "", this.#print(kept));
    this.#node.insertBefore(node, this.#rest);
    this.#parts.push({ node, length: kept.length });
    this.#length += kept.length;
    this.#drop(SHOWN);
  }

  #drop(most) {
    while (this.#parts.length && this.#length - this.#parts[0].length >= most) {
      const { node, length } = this.#parts.shift();
      node.remove();
      this.#length -= length;
      setText(this.#cut, CUT);
    }
  }
}
