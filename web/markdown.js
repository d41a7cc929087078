// The little of Markdown that agents write most: headings, lists, tables, quotes, code, bold and
// emphasis. Everything else, HTML and links included, stays the text it is: what an agent writes
// is not to be trusted.

import { element } from "./dom.js";

const INLINE = /`(?<code>[^`]+)`|\*\*(?<strong>[^*]+)\*\*|(?<!\w)_(?<em>[^_]+)_(?!\w)/g;
const FENCE = /^\s*```/;
// With the flag s, for `.` else stops at \r and U+2028, and each space before is tried as the last.
const HEADING = /^#{1,6}\s+(.*)$/s;
const QUOTE = /^>\s?(.*)$/s;
const ROW = /^\s*\|(.*)\|\s*$/s;
const RULE = /^[\s|:-]+$/;
const ITEM = { ul: /^\s*[-*+]\s+(.*)$/s, ol: /^\s*\d+[.)]\s+(.*)$/s };

function spans(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > end) found.push(["", text.slice(end, match.index)]);
    found.push(Object.entries(match.groups).find(([, inside]) => inside !== undefined));
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push(["", text.slice(end)]);
  return found;
}

// Plain objects, so that they can be tested where there is no page.
export function parse(text) {
  const blocks = [];
  let paragraph = [];
  let ended = true;
  const endParagraph = () => {
    if (paragraph.length) blocks.push({ type: "paragraph", spans: spans(paragraph.join("\n")) });
    paragraph = [];
  };
  const addItem = (type, item) => {
    endParagraph();
    if (blocks.at(-1)?.type !== type || ended) blocks.push({ type, items: [] });
    blocks.at(-1).items.push(item);
    ended = false;
  };
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at];
    if (FENCE.test(line)) {
      endParagraph();
      const begin = at + 1;
      do at += 1;
      while (at < lines.length && !FENCE.test(lines[at]));
      blocks.push({ type: "code", text: lines.slice(begin, at).join("\n") });
    } else if (HEADING.test(line)) {
      endParagraph();
      blocks.push({ type: "heading", spans: spans(line.match(HEADING)[1]) });
    } else if (ITEM.ul.test(line)) {
      addItem("ul", spans(line.match(ITEM.ul)[1]));
    } else if (ITEM.ol.test(line)) {
      addItem("ol", spans(line.match(ITEM.ol)[1]));
    } else if (ROW.test(line)) {
      if (!RULE.test(line)) addItem("table", line.match(ROW)[1].split("|").map((cell) => spans(cell.trim())));
    } else if (QUOTE.test(line)) {
      addItem("quote", spans(line.match(QUOTE)[1]));
    } else if (line.trim() === "") {
      endParagraph();
      ended = blocks.at(-1)?.type === "table" || blocks.at(-1)?.type === "quote";
    } else {
      paragraph.push(line);
    }
  }
  endParagraph();
  return blocks;
}

// DOM nodes; nothing here is ever parsed as HTML.
export function render(text) {
  return parse(text).map((block) => {
    if (block.type === "code") return element("pre", "", element("code", "", block.text));
    if (block.type === "table") return element("table", "", ...block.items.map(row));
    if (block.type === "quote") {
      return element("blockquote", "", ...block.items.map((item) => element("p", "", ...inline(item))));
    }
    if (block.items) {
      return element(block.type, "", ...block.items.map((item) => element("li", "", ...inline(item))));
    }
    return element(block.type === "heading" ? "h3" : "p", "", ...inline(block.spans));
  });
}

function row(cells, index) {
  return element("tr", "", ...cells.map((cell) => element(index ? "td" : "th", "", ...inline(cell))));
}

function inline(parts) {
  return parts.map(([tag, text]) => (tag ? element(tag, "", text) : text));
}
