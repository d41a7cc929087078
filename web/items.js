// How the items of a conversation look: what people wrote, what the agent says and does, notes.

import { newPrinter, onceColoured } from "./ansi.js";
import { element, setText } from "./dom.js";
import { Pieces } from "./pieces.js";
import { Prose } from "./prose.js";
import { counted, newReader, readable } from "./text.js";
import { became, deed, given, printed, state } from "./tool.js";

// `rest(item)` fetches what is missing of a long text; it is called by a button.
export function newItem(item, rest) {
  if (item.kind === "user") return newMessage(item, rest);
  if (item.kind === "note") return element("p", item.bad ? "note bad" : "note", readable(item.text));
  return element("div", "part");
}

function newMessage(item, rest) {
  const text = element("div", "said", readable(item.text));
  text.dir = "auto";
  const node = element("div", "user", speaker("You wrote:"), text, element("div", "more"));
  drawMessage(node, item, rest);
  return node;
}

// Anew once all of it is there.
export function drawMessage(node, item, rest) {
  setText(node.children[1], readable(item.text));
  drawMore(node.children[2], missingOf(item), false, () => rest(item));
}

function missingOf({ text, bytes }) {
  return bytes ? Math.max(0, bytes - new TextEncoder().encode(text).length) : 0;
}

const speaker = (text) => element("span", "hidden", text);

const size = (bytes) => (bytes < 1000 ? counted(bytes, "byte") : `${Math.round(bytes / 1000)} KB`);

const GONE = "The rest is gone: it was longer than what is kept, or its sandbox ended.";

// What is not there of a long text, and how to get it.
function drawMore(node, missing, gone, fetch) {
  const text = missing ? `Show the rest (${size(missing)})` : gone ? GONE : "";
  if (node.dataset.text === text) return;
  node.dataset.text = text;
  if (!missing) return node.replaceChildren(text);
  const button = element("button", "", text);
  button.type = "button";
  button.onclick = async () => {
    button.disabled = true;
    await fetch();
    button.disabled = false;
  };
  node.replaceChildren(button);
}

// `now` is the cloud's time.
export function drawPart(node, part, rest, now = 0) {
  part.changed = false;
  node.hidden = part.told;
  if (part.kind === "text") {
    drawText(node, part);
  } else if (part.kind === "tool") {
    drawTool(node, part, now);
  } else if (part.kind === "reasoning" && part.text) {
    drawReasoning(node, part);
  } else if (part.kind === "error") {
    drawError(node, part);
  } else if (part.kind === "patch") {
    node.className = "note";
    setText(node, readable(`Changed ${part.data.files.join(", ")}`));
  } else {
    node.hidden = true;
  }
  if (part.more) drawMore(part.more, part.missing, part.data.truncated, () => rest(part));
}

function drawText(node, part) {
  if (!part.prose) {
    node.className = "text";
    const body = element("div", "prose");
    part.prose = new Prose(body);
    part.more = element("div", "more");
    node.replaceChildren(speaker("The agent:"), body, part.more);
  }
  part.prose.show(part.text, part.final);
}

function drawError(node, part) {
  if (!part.more) {
    node.className = "note bad";
    part.body = element("span");
    part.more = element("div", "more");
    node.replaceChildren(part.body, part.more);
  }
  setText(part.body, readable(part.lead + (part.text || "The agent reported an error.")));
}

function drawReasoning(node, part) {
  const body = fold(node, "Thoughts", part);
  part.body ??= body.appendChild(element("pre"));
  // A long one grows by what is new of it.
  const had = part.drawn ?? "";
  const grew = part.text.startsWith(had);
  if (!grew) part.body.replaceChildren();
  if (!grew || !part.read) part.read = newReader();
  part.body.append(part.read(grew ? part.text.slice(had.length) : part.text, part.final));
  part.drawn = part.text;
}

function drawTool(node, part, now) {
  const { data } = part;
  node.dataset.status = became(part);
  const body = fold(node, "", part);
  // Made once, or each event would have it told again.
  if (!part.state) {
    part.state = element("span", "state");
    part.state.ariaLive = "off"; // nobody wants to hear the seconds
    part.name = element("b");
    part.deed = element("span");
    part.head.append(part.name, part.deed, part.state);
  }
  setText(part.name, readable(data.tool || "tool"));
  setText(part.deed, ` ${readable(deed(data))} `);
  setText(part.state, state(part, now));
  // Who reads, selects or scrolls in it while it runs goes on there.
  drawBlocks(body, part, [...given(data), ...(part.text ? [printed(part.text)] : [])]);
}

function drawBlocks(body, part, wanted) {
  part.blocks ??= new Map();
  const nodes = wanted.map(({ name, text, newPaint }) => {
    const known = part.blocks.get(name);
    const block = known ?? new Pieces(name, newPaint);
    part.blocks.set(name, block);
    block.show(text);
    if (!known && newPaint === newPrinter) onceColoured(() => block.again());
    return block.node;
  });
  nodes.forEach((node, at) => {
    if (body.childNodes[at] !== node) body.insertBefore(node, body.childNodes[at] ?? null);
  });
  while (body.childNodes.length > nodes.length) body.lastChild.remove();
}

// The time of a tool that runs.
export function tickPart(part, now) {
  if (part.state && part.open) setText(part.state, state(part, now));
}

// A disclosure that stays as a person left it; returns what it holds.
function fold(node, title, part) {
  if (!part.head) {
    node.className = "tool";
    part.head = element("summary", "", title);
    part.inside = element("div", "inside");
    part.more = element("div", "more");
    node.replaceChildren(element("details", "", part.head, part.inside, part.more));
  }
  return part.inside;
}
