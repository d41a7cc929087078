// Markdown as nodes of the page. What an agent writes is not to be trusted: HTML in it is shown as the text it is, and
// what comes of the rest is cleaned down to a short list.

import { Code, languageOf } from "./code.js";
import { element } from "./dom.js";
import { arrived, DOMPurify, Marked } from "./libraries.js";

const TAGS =
  "a blockquote br code del em h3 h4 h5 h6 hr li ol p pre strong table tbody td th thead tr ul".split(" ");
const OPENS = /^(?:https?:|mailto:)/i;
const CLEAN = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ["align", "class", "href", "start"],
  ALLOWED_URI_REGEXP: OPENS,
  ADD_URI_SAFE_ATTR: ["align", "start"], // the others are held against the line above
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const DEEP = 50; // levels of nesting: more take a browser seconds to lay out, and nobody sees them apart
const BLANK_LINE = /\n[ \t]*\n/;
const TURNS = "p, li, h3, h4, h5, h6, td, th, blockquote";

const escaped = (text) =>
  text.replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);

const NAMED = 300; // characters of what a link leads to

// A link that opens nothing from here, a file's mostly, with what it names.
function named(text, href, said) {
  const known = href.startsWith("#") || href.length > NAMED || said.replaceAll("`", "") === href;
  return known ? text : `${text} (<code>${escaped(href)}</code>)`;
}

const RENDERER = {
  html: ({ text, block }) => (block ? `<p>${escaped(text.trimEnd())}</p>` : escaped(text)),
  // The page has two levels above it.
  heading({ tokens, depth }) {
    const tag = `h${Math.min(depth + 2, 6)}`;
    return `<${tag}>${this.parser.parseInline(tokens)}</${tag}>`;
  },
  link({ href, text, tokens }) {
    return !OPENS.test(href) && named(this.parser.parseInline(tokens), href, text);
  },
  // A picture from elsewhere would tell who looks at it.
  image: ({ href, text }) => (OPENS.test(href) ? `<a href="${escaped(href)}">${escaped(text || href)}</a>` : named(escaped(text || "Picture"), href, text)),
  checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
};

// A block that is shown as it was written.
const AS_IS = { name: "asIs", renderer: ({ raw }) => `<p class="as-is">${escaped(raw.trimEnd())}</p>` };
const asIs = (raw) => ({ type: "asIs", raw });

let marked = null;

// Null without the libraries.
export let lexer = null;

// Once it is known whether they are here.
export const decided = arrived.then(() => {
  if (!Marked) return;
  marked = new Marked({ gfm: true, renderer: RENDERER, extensions: [AS_IS] });
  lexer = tokensOf;
});

// What is nested too deep is a block as it is.
function tokensOf(text) {
  try {
    return marked.lexer(text).map((token) => (deeper([token], DEEP) ? asIs(token.raw) : spaced(token)));
  } catch {
    return [asIs(text)];
  }
}

// What comes after an item may not change it, for it is drawn by then: each has room about it, or not, by itself.
function spaced(token) {
  if (token.type !== "list") return token;
  return { ...token, items: token.items.map((item) => spacedItem(item, BLANK_LINE.test(item.raw) ? "paragraph" : "text")) };
}

function spacedItem(item, type) {
  return { ...item, tokens: item.tokens.map((token) => (["paragraph", "text"].includes(token.type) ? { ...token, type } : token)) };
}

function deeper(tokens, levels) {
  if (levels < 0) return true;
  const inside = ({ type, tokens = [], items = [], header, rows }) => (type === "table" ? [...header, ...rows.flat()] : [...tokens, ...items]);
  return tokens.some((token) => deeper(inside(token), levels - 1));
}

// Says of what follows why it looks so.
export const saysAsIs = () => element("p", "note", "Too long or nested too deep to be formatted, so this is as it was written:");

// The nodes of some blocks, whose code is still without colours.
export function nodesOf(tokens) {
  const fragment = DOMPurify.sanitize(marked.parser(tokens), CLEAN);
  for (const text of fragment.querySelectorAll(".as-is")) text.before(saysAsIs());
  for (const pre of fragment.querySelectorAll("pre")) {
    const code = new Code(languageOf(pre.firstElementChild));
    code.add(pre.textContent.replace(/\n$/, ""));
    pre.replaceWith(code.node);
  }
  for (const table of fragment.querySelectorAll("table")) {
    const frame = element("div", "table");
    frame.tabIndex = 0;
    frame.setAttribute("role", "group");
    frame.ariaLabel = "Table";
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const link of fragment.querySelectorAll("a")) drawLink(link);
  for (const node of fragment.querySelectorAll(TURNS)) node.dir = "auto";
  // A task's box is its mark.
  for (const item of fragment.querySelectorAll("li")) if (/^[☑☐]/.test(item.textContent)) item.classList.add("task");
  for (const list of fragment.querySelectorAll("ol, ul, tbody")) list.replaceChildren(...drawn(list));
  return drawn(fragment);
}

// The line ends between blocks are nothing to draw.
const drawn = (node) => [...node.childNodes].filter((child) => child.tagName || child.textContent.trim());

function drawLink(link) {
  if (!link.hasAttribute("href")) return;
  link.rel = "noopener noreferrer";
  link.target = "_blank";
  link.title = link.href; // whatever its text says
}
