// What the page shows of a session's work: files, lines, and where it was published. All of it as text.

import { element, setText } from "./dom.js";
import { counted, readable } from "./text.js";
import { changed, published } from "./work.js";

const MOST_LINES = 5000;
const KINDS = { "+": "added", "-": "deleted", "@": "place" };

// `nodes` are those of the page, by name.
export function drawWork(nodes, { work, status, turn }) {
  const { changes, publication } = work;
  nodes.work.hidden = !changes && !publication;
  setText(nodes.worked, changes ? changed(changes) : "Its work");
  nodes.work.dataset.status = publication?.status ?? "";
  setText(nodes.published, publication ? published(publication) : "");
  const goes = publication?.status === "publishing";
  const rests = ["prepared", "ready", "stopping", "asleep"].includes(status) && !turn;
  nodes.publish.disabled = goes || !rests;
  const page = publication?.pullRequest?.url || publication?.url;
  const text = publication?.pullRequest ? `Pull request #${publication.pullRequest.number}` : "Its branch";
  if (nodes.page.dataset.url === (page ?? "")) return;
  nodes.page.dataset.url = page ?? "";
  nodes.page.replaceChildren(...(page ? [link(text, page)] : []));
}

// The files, as GET …/changes answers them.
export function fileList({ files, total, truncated }) {
  const items = files.map(({ path, source, status, additions, deletions, mode }) => {
    const lines = additions === null ? "binary" : `+${additions} -${deletions}`;
    const name = source ? `${source} → ${path}` : path;
    return element("li", "", element("code", "", name), ` ${status}, ${lines}${mode ? `, ${mode}` : ""}`);
  });
  if (truncated) items.push(element("li", "", `… and ${total.files - files.length} more`));
  return items;
}

// A diff line by line.
export const diffLines = (text) => linesOf(text.split("\n"));

const linesOf = (lines) => lines.map((line) => element("span", KINDS[line[0]] ?? "", `${readable(line)}\n`));

// The beginning of one that can be had whole elsewhere: a page with all lines of a long one is slow.
export function diffBeginning(text) {
  const lines = text.split("\n");
  const shown = linesOf(lines.slice(0, MOST_LINES));
  if (lines.length > MOST_LINES) shown.push(element("span", "place", `… ${counted(lines.length - MOST_LINES, "more line")}`));
  return shown;
}

export function link(text, url) {
  const node = element("a", "", text);
  // An address of another kind could run as the page.
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) node.href = url;
  node.rel = "noreferrer";
  node.target = "_blank";
  return node;
}
