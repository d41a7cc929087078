// What is drawn again and again as it grows: nodes that were there already stay, and with them what is selected in them
// and what has the focus.

// Makes the children of `node` like these, those of them from one on.
export function morph(node, wanted, from = 0) {
  wanted.forEach((made, at) => {
    const had = node.childNodes[from + at];
    if (!had) node.append(made);
    else if (kept(had, made) !== had) had.replaceWith(made);
  });
  while (node.childNodes.length > from + wanted.length) node.lastChild.remove();
}

// What was there made like what is wanted, where it can be; else that.
function kept(had, made) {
  if (had?.nodeName !== made.nodeName) return made;
  if (had.nodeType === Node.TEXT_NODE) rewrite(had, made.data);
  // It says what came of it when it was pressed.
  else if (had.nodeName !== "BUTTON") become(had, made);
  return had;
}

function become(had, made) {
  for (const { name } of [...had.attributes]) if (!made.hasAttribute(name)) had.removeAttribute(name);
  for (const { name, value } of made.attributes) if (had.getAttribute(name) !== value) had.setAttribute(name, value);
  morph(had, [...made.childNodes]);
}

// From where they differ on: a selection before that is not touched.
function rewrite(had, text) {
  const { data } = had;
  if (data === text) return;
  let same = text.startsWith(data) ? data.length : 0;
  while (same < data.length && data[same] === text[same]) same += 1;
  had.replaceData(same, data.length - same, text.slice(same));
}

// How far what scrolls by itself in there is scrolled.
export const scrolledIn = (node) =>
  [...node.querySelectorAll("pre, .table")].map((one) => ({ one, top: one.scrollTop, left: one.scrollLeft }));

// Where a selection begins and ends: asking a browser for it has all of a long text laid out.
let ends = [];
globalThis.document?.addEventListener?.("selectionchange", () => {
  const { anchorNode, focusNode } = getSelection();
  ends = [anchorNode, focusNode];
});

// Has nodes moved by `put(nodes)`. That would end a selection in them, so it is made anew, and what was scrolled is again.
export function move(nodes, put, scrolled = []) {
  const selected = ends.some((end) => nodes.some((node) => node.contains(end)));
  const { anchorNode, anchorOffset, focusNode, focusOffset } = selected ? getSelection() : {};
  put(nodes);
  for (const { one, top, left } of scrolled) if (top || left) one.scrollTo(left, top);
  if (selected) getSelection().setBaseAndExtent(anchorNode, anchorOffset, focusNode, focusOffset);
}
