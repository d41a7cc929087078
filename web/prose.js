// A text for people that grows: what is finished of it is drawn once and never touched again, the last block with each
// change, from where it changes on. Until the libraries are here, and where they are missing, it is shown as it is.

import { Code, colour } from "./code.js";
import { element } from "./dom.js";
import { decided, lexer, nodesOf, saysAsIs } from "./markup.js";
import { morph, move, scrolledIn } from "./morph.js";
import { Table } from "./table.js";
import { newReader } from "./text.js";

const WINDOW = 8192; // characters that are looked at together; a longer block is drawn in pieces
const LONG = 4 * WINDOW; // characters of one block that are formatted, and of one table; nobody reads a longer one as it is meant
const SLICE = 12; // milliseconds at once
const REST = 12; // times as long as it took nothing is drawn again,
const LONGEST = 250; // milliseconds at most, as on a busy machine it is the others that took them
const STRETCH = 50; // blocks that are laid out together: with each new one a browser looks at all that are beside it
const BLOCK_END = /\n[ \t]*\n/;
const FENCE = /^ {0,3}(?:`{3,}|~{3,})[^\n]*\n/;

export class Prose {
  #node;
  #stretch; // holds what is finished last, and after it
  #open; // holds what is not finished; a screen reader hears of it once it is
  #raw = "";
  #read; // makes of what came of it what is shown
  #text = "";
  #final = false;
  #outline = []; // the depths of the headings that what is next stands under
  #done = 0; // how much of the text is finished
  #before = ""; // what the rest must be read after: a fence, or a table's head
  #code = null; // the block that goes on
  #table = null; // the same
  #number = null; // of the next item of the list that goes on, whatever is written before it
  #length = 0; // of the block that goes on and is no code
  #asIs = null; // holds what is too long to be formatted
  #timer = null;
  #due = 0;

  constructor(node) {
    this.#node = node;
    if (!lexer) {
      Object.assign(node, { className: `${node.className} plain`, dir: "auto" });
      decided.then(() => lexer && this.#anew());
    }
    this.#clear();
  }

  #anew() {
    this.#node.classList.remove("plain");
    this.#node.removeAttribute("dir");
    const text = this.#raw;
    this.#clear();
    this.show(text, this.#final);
  }

  // What was shown is the beginning of it, or it begins anew.
  show(text, final) {
    if (text === this.#raw && final === this.#final) return;
    if (!text.startsWith(this.#raw)) this.#clear();
    const added = this.#read(text.slice(this.#raw.length), final);
    this.#raw = text;
    this.#final = final;
    this.#text += added;
    if (!lexer) this.#node.append(added);
    else if (this.#timer === null) this.#later(Math.max(0, this.#due - performance.now()));
  }

  #clear() {
    this.#raw = this.#text = this.#before = "";
    this.#read = newReader();
    this.#done = 0;
    this.#outline = [];
    this.#code = this.#table = this.#number = this.#asIs = null;
    this.#length = 0;
    this.#open = element("div", "open");
    this.#open.ariaLive = "off";
    this.#stretch = element("div", "stretch", this.#open);
    this.#node.replaceChildren(...(lexer ? [this.#stretch] : []));
  }

  #later(pause) {
    if (!pause) return this.#draw();
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#draw();
    }, pause);
  }

  // In slices, so that the page goes on meanwhile.
  #draw() {
    const began = performance.now();
    let more = true;
    while (more && performance.now() - began < SLICE) more = this.#finishSome();
    if (!more) this.#drawOpen();
    const took = performance.now() - began;
    this.#due = performance.now() + Math.min(took * REST, LONGEST);
    if (more) this.#later(took);
  }

  // Draws what is finished within the window; returns whether to look further.
  #finishSome() {
    if (this.#asIs) return this.#finishAsIs();
    const rest = this.#text.slice(this.#done, this.#done + WINDOW + 1);
    const whole = rest.length <= WINDOW;
    // A line that goes on may yet be something else.
    const end = whole && this.#final ? rest.length : endOfLine(rest, whole ? rest.length : WINDOW, !whole);
    const tokens = lexer(this.#before + rest.slice(0, end));
    const last = tokens.findLastIndex(({ type }) => type !== "space");
    if (last < 0) {
      if (whole && !this.#final) return false;
      this.#done += end;
      return !whole;
    }
    if (whole && this.#final) {
      this.#finish(tokens);
      this.#code?.finish();
      this.#code = null;
      return false;
    }
    if (last > 0) this.#finish(tokens.slice(0, last));
    else if (!whole) this.#split(tokens[last]);
    return !whole;
  }

  #finish(tokens) {
    const length = tokens.reduce((sum, { raw }) => sum + raw.length, 0);
    this.#done += length - this.#before.length;
    const [first, ...others] = tokens;
    const goesOn = this.#before !== "";
    const table = this.#table;
    this.#before = "";
    this.#length = 0;
    this.#table = null;
    if (goesOn && this.#code) {
      if (first.text) this.#code.add(first.text);
      this.#code.finish();
      this.#code = null;
      this.#put(others);
    } else if (goesOn && table && first.type === "table") {
      table.add(...nodesOf([first]));
      this.#put(others);
    } else {
      this.#put(this.#numbered(tokens));
      this.#number = null;
    }
  }

  // What was drawn of it while it was open goes along, as somebody may have selected it.
  #put(tokens) {
    const nodes = nodesOf(outlined(tokens, this.#outline));
    if (!nodes.length) return;
    // Asked for while the layout is still as it was seen.
    const scrolled = scrolledIn(this.#open);
    morph(this.#open, nodes);
    const ended = [...this.#open.childNodes];
    move(ended, () => this.#append(ended), scrolled);
    for (const code of ended.flatMap(codesIn)) colour(code);
  }

  // After all that is finished.
  #append(ended) {
    for (const node of ended) {
      if (this.#stretch.childElementCount > STRETCH) {
        this.#stretch = element("div", "stretch", this.#open);
        this.#node.append(this.#stretch);
      }
      this.#open.before(node);
    }
  }

  // As a list that goes on is read anew from where it was cut.
  #numbered(tokens) {
    const [first, ...others] = tokens;
    return this.#number !== null && first?.ordered ? [{ ...first, start: this.#number }, ...others] : tokens;
  }

  // One block fills the window: what can be told of it is drawn, and the rest is read as the same block.
  #split(token) {
    const { type, raw } = token;
    const before = this.#before;
    if (type === "list" && token.items.length > 1) {
      const items = token.items.slice(0, -1);
      const [list] = this.#numbered([{ ...token, items }]);
      this.#put([list]);
      this.#open.previousElementSibling.classList.add("goes-on");
      this.#number = list.ordered ? list.start + items.length : null;
      this.#done += items.reduce((sum, item) => sum + item.raw.length, 0);
      return;
    }
    this.#number = null;
    this.#done += raw.length - before.length;
    if (type === "code" && FENCE.test(raw)) {
      const [fence] = FENCE.exec(raw);
      if (!this.#code) {
        const drawn = this.#open.firstElementChild;
        this.#code = new Code(token.lang?.match(/^\S*/)[0] ?? "", drawn?.matches(".code") ? drawn : null);
        move([this.#code.node], ([node]) => this.#open.before(node), scrolledIn(this.#open));
      }
      this.#code.add(raw.slice(fence.length).replace(/\n$/, ""));
      this.#before = fence;
    } else if (type === "table") {
      this.#splitTable(token);
    } else {
      this.#table = null;
      this.#put([token]);
      this.#goOn(raw.length);
    }
  }

  // One that takes long to lay out is followed by another with the same head.
  #splitTable(token) {
    if (this.#table && this.#length < LONG) {
      this.#table.add(...nodesOf([token]));
    } else {
      this.#put([token]);
      this.#table = new Table(this.#open.previousElementSibling);
      this.#length = 0;
    }
    this.#length += token.raw.length;
    this.#before = token.raw.split("\n", 2).join("\n") + "\n";
  }

  #goOn(length) {
    this.#open.previousElementSibling?.classList.add("goes-on");
    this.#length += length;
    if (this.#length < LONG) return;
    this.#open.before(saysAsIs());
    this.#newAsIs();
  }

  #newAsIs() {
    this.#asIs = element("p", "as-is goes-on");
    this.#asIs.dir = "auto";
    this.#open.before(this.#asIs);
  }

  // Draws what there is of such a block; returns whether there is more than that.
  #finishAsIs() {
    const rest = this.#text.slice(this.#done);
    const end = rest.search(BLOCK_END);
    // What may yet be its end is left alone.
    const told = end >= 0 ? rest.slice(0, end) : this.#final ? rest : rest.trimEnd();
    for (let at = 0; at < told.length; ) {
      if (this.#asIs.textContent.length >= WINDOW) this.#newAsIs();
      const piece = told.slice(at, at + WINDOW);
      const length = at + piece.length < told.length ? endOfLine(piece, piece.length, true) : piece.length;
      this.#asIs.append(piece.slice(0, length));
      at += length;
    }
    this.#done += told.length;
    if (end < 0) return false;
    this.#asIs.classList.remove("goes-on");
    this.#asIs = null;
    this.#length = 0;
    return true;
  }

  #drawOpen() {
    const tokens = this.#final ? [] : this.#numbered(lexer(this.#before + this.#text.slice(this.#done)));
    if (this.#code && tokens[0]?.type === "code") this.#code.showUnfinished(tokens.shift().text);
    if (this.#table && tokens[0]?.type === "table") this.#table.showUnfinished(...nodesOf([tokens.shift()]));
    morph(this.#open, nodesOf(outlined(tokens, [...this.#outline])));
  }
}

const codesIn = (node) => (node.matches?.(".code") ? [node] : [...(node.querySelectorAll?.(".code") ?? [])]);

// Each heading one level below that it stands under: an agent chooses depths by their looks, and leaves some out.
function outlined(tokens, outline) {
  return tokens.map((token) => {
    if (token.type !== "heading") return token;
    while (outline.at(-1) >= token.depth) outline.pop();
    return { ...token, depth: outline.push(token.depth) };
  });
}

// Just after the last line that ends before `most`; where none does, none of it, or as much as may be.
function endOfLine(text, most, cut) {
  const end = text.lastIndexOf("\n", most - 1) + 1;
  if (end || !cut) return end;
  const half = text.charCodeAt(most - 1);
  return half >= 0xd800 && half <= 0xdbff ? most - 1 : most;
}
