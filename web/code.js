// A block of code: named, scrolled by keyboard, copied by a button, and coloured once it is whole.

import { element } from "./dom.js";
import { DOMPurify, highlighter } from "./libraries.js";

const COLOURED = 20000; // characters; more takes too long at once
const CLEAN = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };
const SAID = 2000; // milliseconds

// Its pieces are drawn one after the other and never again.
export class Code {
  #code = element("code");
  #texts = [];
  #unfinished = element("span", "piece");
  #language;

  constructor(language) {
    this.#language = language;
    const pre = element("pre", "", this.#code);
    pre.tabIndex = 0;
    pre.setAttribute("role", "group");
    pre.ariaLabel = language ? `Code, ${language}` : "Code";
    pre.dir = "ltr";
    const copy = element("button", "copy", "Copy");
    copy.type = "button";
    copy.onclick = () => this.#copy(copy);
    this.node = element("div", "code", pre, copy);
  }

  get text() {
    return this.#texts.join("\n");
  }

  add(text) {
    this.#unfinished.remove();
    this.#texts.push(text);
    this.#code.append(element("span", "piece", text));
  }

  // What comes after the pieces and is drawn again.
  showUnfinished(text) {
    this.#unfinished.textContent = text;
    if (!this.#unfinished.parentNode) this.#code.append(this.#unfinished);
  }

  // Nothing will be added.
  async finish() {
    this.#unfinished.remove();
    const { text } = this;
    if (!this.#language || text.length > COLOURED) return;
    const colours = await highlighter();
    if (!colours?.getLanguage(this.#language) || selected(this.#code)) return;
    const html = colours.highlight(text, { language: this.#language, ignoreIllegals: true }).value;
    this.#code.replaceChildren(DOMPurify.sanitize(html, CLEAN));
  }

  async #copy(button) {
    const done = await navigator.clipboard?.writeText(this.text).then(() => true, () => false);
    // Where a page may not write there, a person can from here.
    if (!done) getSelection().selectAllChildren(this.#code);
    button.textContent = done ? "Copied" : "Selected";
    setTimeout(() => (button.textContent = "Copy"), SAID);
  }
}

function selected(node) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(node, true);
}
