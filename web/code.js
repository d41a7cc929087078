// A block of code: named, scrolled by keyboard, copied by a button, and coloured once it is whole.

import { element } from "./dom.js";
import { DOMPurify, highlighter } from "./libraries.js";
import { morph } from "./morph.js";

const COLOURED = 20000; // characters; more takes too long at once
const CLEAN = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };
const LANGUAGE = /(?:^|\s)language-(\S+)/;
const SAID = 2000; // milliseconds

const textOf = (code) => [...code.children].map(({ textContent }) => textContent).join("\n");

// What a block is called by Markdown's own classes.
export const languageOf = (code) => LANGUAGE.exec(code?.className ?? "")?.[1] ?? "";

// Its pieces are drawn one after the other and never again, but for the last one while it is unfinished.
export class Code {
  #code;
  #unfinished = null;

  // `drawn` is one that was drawn of the same when it had but one piece, and is gone on with.
  constructor(language, drawn = null) {
    if (drawn) {
      this.node = drawn;
      this.#code = drawn.querySelector("code");
      this.#unfinished = this.#code.lastElementChild;
      return;
    }
    this.#code = element("code", language && `language-${language}`);
    const copy = element("button", "copy", "Copy");
    copy.type = "button";
    copy.onclick = () => copyFrom(this.#code, copy);
    const pre = element("pre", "", this.#code);
    pre.tabIndex = 0;
    pre.setAttribute("role", "group");
    pre.ariaLabel = language ? `Code, ${language}` : "Code";
    pre.dir = "ltr";
    this.node = element("div", "code", copy, pre);
  }

  add(text) {
    this.showUnfinished(text);
    this.#unfinished = null;
  }

  // What comes after the pieces and is drawn again.
  showUnfinished(text) {
    this.#unfinished ??= this.#code.appendChild(element("span", "piece"));
    morph(this.#unfinished, [document.createTextNode(text)]);
  }

  // Nothing will be added.
  finish() {
    this.#unfinished?.remove();
    colour(this.node);
  }
}

// A block that is whole.
export async function colour(node) {
  const code = node.querySelector("code");
  const language = languageOf(code);
  const text = textOf(code);
  if (!language || text.length > COLOURED) return;
  const colours = await highlighter();
  if (!colours?.getLanguage(language) || selected(code)) return;
  const html = colours.highlight(text, { language, ignoreIllegals: true }).value;
  code.replaceChildren(element("span", "piece", DOMPurify.sanitize(html, CLEAN)));
}

async function copyFrom(code, button) {
  const done = await navigator.clipboard?.writeText(textOf(code)).then(() => true, () => false);
  // Where a page may not write there, a person can from here.
  if (!done) getSelection().selectAllChildren(code);
  button.textContent = done ? "Copied" : "Selected";
  setTimeout(() => (button.textContent = "Copy"), SAID);
}

function selected(node) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(node, true);
}
