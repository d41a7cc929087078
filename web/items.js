// How the items of a conversation look: what people wrote, what the agent says and does, notes.

import { element, setText } from "./dom.js";
import { render as renderMarkdown } from "./markdown.js";

export function newItem(item) {
  if (item.kind === "user") return element("div", "user", item.text);
  if (item.kind === "note") return element("p", item.bad ? "note bad" : "note", item.text);
  return element("div", "part");
}

export function drawPart(node, part) {
  const shown = part.shown;
  part.changed = false;
  node.hidden = false;
  if (part.kind === "text") {
    // The cut beginning of a long part stays the same while the part grows.
    if (node.className === "text" && part.drawn === shown) return;
    node.className = "text";
    node.replaceChildren(...renderMarkdown(shown));
    part.drawn = shown;
  } else if (part.kind === "tool") {
    drawTool(node, part.data);
  } else if (part.kind === "reasoning" && shown) {
    node.className = "tool";
    node.replaceChildren(disclosure(node, ["Thoughts"], shown));
  } else if (part.kind === "error") {
    node.className = "note bad";
    setText(node, shown || "The agent reported an error.");
  } else if (part.kind === "patch") {
    node.className = "note";
    setText(node, `Changed ${part.data.files.join(", ")}`);
  } else {
    node.hidden = true;
  }
}

function drawTool(node, { status, tool, title, output }) {
  node.className = "tool";
  node.dataset.status = status;
  const head = [element("b", "", tool || "tool"), ` ${title}`];
  if (status === "running") head.push(" …");
  node.replaceChildren(disclosure(node, head, output));
}

// Opened as what it replaces was.
function disclosure(node, head, body) {
  const details = element("details", "", element("summary", "", ...head), element("pre", "", body));
  details.open = node.querySelector("details")?.open ?? false;
  return details;
}
