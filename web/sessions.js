// The list of the caller's sessions: kept up to date in place, searched, and of one repository where asked.

import { element, setText } from "./dom.js";
import { merged, newest, PAGE } from "./listing.js";
import { $, answered, refused, sentence, state, unanswered } from "./page.js";
import { shortName, told, when } from "./status.js";
import { readable } from "./text.js";

const LIST_EVERY = 5000;
const WHOLE_EVERY = 60_000; // in between, what is new and what is newest
const TYPING = 300;

let list = { items: [], cursor: null, more: false };
let of = null; // whose list it is
let wholeAt = 0;
let turn = 0; // what was asked in an earlier one is of no interest any more
const rows = new Map(); // the links, by session
const repositories = new Set(); // that were ever seen in it

const query = () => ({ search: $("search").value.trim(), repository: $("repository").value });
const searching = () => Object.values(query()).some(Boolean);

// Shows the list of who is connected, and marks the session on display.
export function keepList() {
  for (const id of ["new", "find"]) $(id).hidden = !state.api;
  if (of !== state.api) {
    of = state.api;
    repositories.clear();
    $("search").value = "";
    $("repository").replaceChildren(option("", "All repositories"));
    begin();
  } else {
    draw();
    refresh();
  }
}

// A list of its own, from the top.
function begin() {
  turn += 1;
  list = { items: [], cursor: null, more: false };
  wholeAt = 0;
  draw();
  tell(state.api ? "Looking for your sessions…" : "");
  return refresh();
}

async function refresh() {
  if (!state.api || document.hidden) return;
  const whole = Date.now() - wholeAt > WHOLE_EVERY && !searching();
  await ask(async (api, options) => {
    const first = await newest(api, whole ? Math.max(PAGE, list.items.length) : PAGE, options);
    if (whole) wholeAt = Date.now();
    return (whole ? first : merged(list, first)) ?? first;
  });
}

async function ask(read) {
  const mine = [state.api, turn];
  const current = () => state.api === mine[0] && turn === mine[1];
  try {
    const found = await read(state.api, { query: query() });
    if (!current()) return;
    list = found;
    answered();
    draw();
    tell(list.items.length ? "" : nothing());
  } catch (error) {
    if (!current() || refused(error)) return;
    tell(`The list can't be had: ${sentence(error.message)}`);
    if (error.status === 0) unanswered();
  }
}

function nothing() {
  if (searching()) return list.more ? "None so far." : "No session is like that.";
  return "No sessions yet: say what the agent shall do, and press Start.";
}

const tell = (text) => {
  $("told").hidden = !text;
  setText($("told"), text);
};

function draw() {
  for (const { repository } of list.items) see(repository?.gitUrl);
  const ids = new Set(list.items.map(({ sessionId }) => sessionId));
  for (const [id, row] of rows) {
    if (ids.has(id)) continue;
    row.remove();
    rows.delete(id);
  }
  list.items.forEach((session, at) => {
    const row = drawRow(session);
    const there = $("sessions").children[at];
    // What stays where it is keeps its focus.
    if (there !== row) $("sessions").insertBefore(row, there ?? null);
  });
  $("more").hidden = !list.more;
  setText($("more"), searching() ? "Search further back" : "Show older ones");
}

function drawRow(session) {
  const { sessionId, title, repository, createdAt, pendingInputCount } = session;
  let row = rows.get(sessionId);
  if (!row) {
    row = element("a", "", element("span", "dot"), element("span", "name"), element("small", "", element("span", "is"), element("span", "of"), element("span", "when")));
    row.href = `#${sessionId}`;
    row.dataset.session = sessionId;
    rows.set(sessionId, row);
  }
  const { current } = state;
  const onDisplay = current?.id === sessionId;
  if (onDisplay) row.setAttribute("aria-current", "page");
  else row.removeAttribute("aria-current");
  // The list is asked for seldom, and may not be behind what is told of the session on display.
  const known = onDisplay && current.view.session;
  setText(row.querySelector(".name"), known ? current.view.session.title : title);
  row.title = readable(`${title}\n${repository?.gitUrl ?? ""}\n${new Date(createdAt).toLocaleString()}`);
  setText(row.querySelector(".of"), repository ? ` ${shortName(repository.gitUrl)}` : "");
  setText(row.querySelector(".when"), ` ${when(createdAt)}`);
  setStatus(row, told(known ? current.view : { ...session, waitsForYou: pendingInputCount > 0 }));
  return row;
}

function setStatus(row, { status, words }) {
  row.querySelector(".dot").dataset.status = status;
  setText(row.querySelector(".is"), words);
}

// What is told of the session on display is in the list at once.
export function tellList(id, view) {
  const row = rows.get(id);
  if (!row) return;
  setStatus(row, told(view));
  setText(row.querySelector(".name"), view.session.title);
}

function option(value, text) {
  const node = element("option", "", text);
  node.value = value;
  return node;
}

function see(gitUrl) {
  if (!gitUrl || repositories.has(gitUrl)) return;
  repositories.add(gitUrl);
  $("repository").append(option(gitUrl, shortName(gitUrl)));
}

let typing = 0;
$("search").oninput = () => {
  clearTimeout(typing);
  typing = setTimeout(begin, TYPING);
};
$("find").onsubmit = (event) => {
  event.preventDefault();
  begin();
};
$("repository").onchange = begin;
$("more").onclick = async () => {
  const [many, mine] = [list.items.length, turn];
  const focused = document.activeElement === $("more");
  await ask(async (api, options) => {
    const older = await newest(api, PAGE, { ...options, cursor: list.cursor });
    const had = new Set(list.items.map(({ sessionId }) => sessionId));
    return { ...older, items: [...list.items, ...older.items.filter(({ sessionId }) => !had.has(sessionId))] };
  });
  // The button goes with the last page, and would take the focus along.
  const nowhere = [$("more"), document.body, null].includes(document.activeElement);
  if (focused && nowhere && $("more").hidden && turn === mine) (rows.get(list.items[many]?.sessionId) ?? $("search")).focus();
};
setInterval(refresh, LIST_EVERY);
document.addEventListener?.("visibilitychange", refresh);
for (const change of ["online", "offline"]) addEventListener(change, refresh);
