// The little of Markdown that agents write most: headings, lists, code and bold. Everything else,
// HTML and links included, stays the text it is: what an agent writes is not to be trusted.

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*/g;
const FENCE = /^\s*```/;
const HEADING = /^#{1,6}\s+(.*)$/;
const ITEM = { ul: /^\s*[-*+]\s+(.*)$/, ol: /^\s*\d+[.)]\s+(.*)$/ };

function spans(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > end) found.push(["", text.slice(end, match.index)]);
    found.push(match[1] === undefined ? ["strong", match[2]] : ["code", match[1]]);
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push(["", text.slice(end)]);
  return found;
}

// Plain objects, so that they can be tested where there is no page.
export function parse(text) {
  const blocks = [];
  let paragraph = [];
  const endParagraph = () => {
    if (paragraph.length) blocks.push({ type: "paragraph", spans: spans(paragraph.join("\n")) });
    paragraph = [];
  };
  const addItem = (type, item) => {
    endParagraph();
    if (blocks.at(-1)?.type !== type) blocks.push({ type, items: [] });
    blocks.at(-1).items.push(spans(item));
  };
  const lines = text.split("\n");
  while (lines.length) {
    const line = lines.shift();
    if (FENCE.test(line)) {
      endParagraph();
      const close = lines.findIndex((candidate) => FENCE.test(candidate));
      const code = lines.splice(0, close < 0 ? lines.length : close);
      lines.shift();
      blocks.push({ type: "code", text: code.join("\n") });
    } else if (HEADING.test(line)) {
      endParagraph();
      blocks.push({ type: "heading", spans: spans(line.match(HEADING)[1]) });
    } else if (ITEM.ul.test(line)) {
      addItem("ul", line.match(ITEM.ul)[1]);
    } else if (ITEM.ol.test(line)) {
      addItem("ol", line.match(ITEM.ol)[1]);
    } else if (line.trim() === "") {
      endParagraph();
    } else {
      paragraph.push(line);
    }
  }
  endParagraph();
  return blocks;
}

// DOM nodes whose text is set as text: nothing here is ever parsed as HTML.
export function render(text) {
  return parse(text).map((block) => {
    if (block.type === "code") return element("pre", element("code", block.text));
    if (block.items) {
      return element(block.type, ...block.items.map((item) => element("li", ...inline(item))));
    }
    return element(block.type === "heading" ? "h3" : "p", ...inline(block.spans));
  });
}

function inline(parts) {
  return parts.map(([tag, text]) => (tag ? element(tag, text) : text));
}

function element(tag, ...children) {
  const node = document.createElement(tag);
  node.append(...children);
  return node;
}
