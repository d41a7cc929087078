// The one place where text becomes part of the page: always as text, and so that nothing
// in it is seen as what it is not.

import { readable } from "./text.js";

// Children are nodes or texts, or lists of them, of any length.
export function element(tag, className = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const child of children.flat()) node.append(typeof child === "string" ? readable(child) : child);
  return node;
}

// Whether a key belongs to who composes a letter of several. Safari says of the last one only by its number.
export const composes = ({ isComposing, keyCode }) => isComposing || keyCode === 229;

export function setText(node, text) {
  const shown = readable(text);
  if (node.textContent !== shown) node.textContent = shown;
}
