// The page: forms, the list of sessions, and one session followed live.

import { Api, HIDDEN } from "./api.js";
import { newAttempt, newSession } from "./bodies.js";
import { diffLines, drawWork, fileList, link } from "./changes.js";
import { connect, connection, takeLink } from "./connection.js";
import { element, setText } from "./dom.js";
import { drawFailure } from "./failure.js";
import { follow } from "./follow.js";
import { newest, PAGE } from "./listing.js";
import { drawLeftOut, savedFiles } from "./saved.js";
import { drawSteps } from "./steps.js";
import { newTalk } from "./talk.js";
import { plain } from "./text.js";
import { View } from "./view.js";
import { warned } from "./warnings.js";

const LIST_EVERY = 5000;
const TICK = 250;

const $ = (id) => document.getElementById(id);

let api = null;
let current = null; // {id, view, nodes, stop} of the session on display
let wanted = PAGE; // how many sessions the list is to have
let warning = { id: "", text: "" }; // of the session that was created last, for when it is opened

// Where the API is: from a link once, then from this tab's storage.

function readAddress() {
  if (takeLink(location.hash, sessionStorage)) {
    // A token must not stay in the address, where it is seen, copied and remembered.
    history.replaceState(null, "", location.pathname + location.search);
  }
  const known = connection(sessionStorage);
  api = known && new Api(known.api, known.token);
}

function show(id) {
  for (const name of ["connect", "create", "session"]) $(name).hidden = name !== id;
}

function notice(text = "") {
  $("notice").hidden = !text;
  setText($("notice"), text);
}

// What may fail, said where a person looks.
async function attempt(action, meanwhile = "") {
  notice(meanwhile);
  try {
    return await action();
  } catch (error) {
    if (!refused(error)) notice(`${error.message.replace(/\.$/, "")}.`);
    return undefined;
  }
}

// A refused token leads back to the first form; nothing is asked any more before there is another.
function refused(error) {
  if (error.status !== 401 && error.code !== HIDDEN) return false;
  leave();
  api = null;
  show("connect");
  notice(error.code === HIDDEN ? `${error.message}.` : "The API refused the token: it may have expired.");
  return true;
}

// The list.

async function refreshList() {
  if (!api || document.hidden) return;
  const [asked, many] = [api, wanted];
  const list = await newest(api, many).catch((error) => {
    if (api === asked) refused(error);
  });
  if (!list || api !== asked || wanted !== many) return;
  $("sessions").replaceChildren(...list.items.map(listItem));
  $("more").hidden = !list.more;
}

function listItem(session) {
  const link = element("a");
  link.href = `#${session.sessionId}`;
  link.dataset.session = session.sessionId;
  const dot = element("span", "dot");
  const when = new Date(session.createdAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  link.append(dot, element("span", "", session.title), element("small", "", element("span"), ` · ${when}`));
  const onDisplay = current?.id === session.sessionId;
  if (onDisplay) link.setAttribute("aria-current", "page");
  setStatus(link, onDisplay && current.view.session ? current.view.status : session.status);
  return link;
}

function setStatus(link, status) {
  link.querySelector(".dot").dataset.status = status;
  setText(link.querySelector("small span"), status);
}

// One session.

function leave() {
  current?.stop.abort();
  current = null;
}

function open(id) {
  leave();
  show("session");
  const mine = { id, view: new View(), stop: new AbortController(), lost: "" };
  current = mine;
  talk.open();
  $("steps").replaceChildren();
  $("preparation").open = true;
  $("change").open = false;
  $("retry").reset();
  $("files").replaceChildren();
  hideChanges();
  let scheduled = false;
  const redraw = () => {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      if (current === mine) draw(mine);
    });
  };
  const options = {
    signal: mine.stop.signal,
    onEvent(event) {
      mine.lost = "";
      mine.view.apply(event);
      if (event.type === "session.ready") $("preparation").open = false;
      if (event.type === "session.preparing") $("preparation").open = true;
      redraw();
    },
    onLost(reason) {
      mine.lost = `The connection was lost: ${reason}`;
      redraw();
    },
  };
  const ended = (error) => {
    // What is left of a session that isn't there would look as if it could be stopped or deleted.
    if (current === mine && (error.status === 404 || !mine.view.session)) {
      leave();
      document.title = "Headstart";
      show("");
    }
    throw error;
  };
  const said = warning.id === id ? warning.text : "";
  attempt(() => follow(api, id, options).catch(ended), said).then(() => {
    if (current === mine && mine.view.status === "deleted") location.hash = "";
  });
  redraw();
}

function draw({ id, view, lost }) {
  document.title = view.session ? plain(`${view.session.title} · Headstart`) : "Headstart";
  setText($("title"), view.session?.title ?? "…");
  const repository = view.session?.repository;
  setText($("where"), repository ? `${repository.gitUrl} · ${repository.branch}` : "");
  $("status").dataset.status = view.status;
  setText($("status"), lost ? "reconnecting…" : view.status);
  $("status").title = lost;
  // The list is asked for seldom, and may not be behind what is told of the session on display.
  const link = $("sessions").querySelector(`[data-session="${CSS.escape(id)}"]`);
  if (link && view.session) setStatus(link, view.status);
  $("stop").hidden = !(view.turn || view.status === "preparing");
  drawSteps($("summary"), $("steps"), view);
  drawFailure($, view, id);
  drawLeftOut($("left"), view.rest.leftOut);
  drawWork({ work: $("work"), worked: $("worked"), published: $("published"), page: $("page"), publish: $("send-work") }, view);
  talk.draw(view);
}

// What people do.

// Runs while the form is locked, so that a second click sends nothing twice.
async function submitted(event, action) {
  event.preventDefault();
  const button = event.target.querySelector("button.primary");
  button.disabled = true;
  await attempt(action);
  button.disabled = false;
}

const talk = newTalk({ $, attempt, submitted, api: () => api, current: () => current });

$("connect").onsubmit = (event) =>
  submitted(event, async () => {
    const form = event.target.elements;
    connect(sessionStorage, form.api.value, form.token.value);
    route();
  });

$("create").onsubmit = (event) =>
  submitted(event, async () => {
    const { repo, submodules, hold } = event.target.elements;
    const names = ["prompt", "branch", "setup", "inputs", "tree", "depth"];
    const texts = Object.fromEntries(names.map((name) => [name, event.target.elements[name].value]));
    const checks = { submodules: submodules.checked, hold: hold.checked };
    const created = await api.post("/sessions", newSession({ repo: repo.value, ...texts, ...checks }));
    // Another prompt on the same repository is likely, the same branch and commands are not.
    const kept = repo.value;
    event.target.reset();
    repo.value = kept;
    warning = { id: created.sessionId, text: warned(created) };
    location.hash = created.sessionId;
  });

$("new").onclick = () => {
  if (location.hash) location.hash = "";
  else route();
};
$("more").onclick = () => {
  wanted += PAGE;
  refreshList();
};
$("stop").onclick = () =>
  attempt(() => api.call("POST", `/sessions/${current.id}/interrupt`, undefined, { once: true }));
// The next attempt, with the setup commands as the form has them.
const attemptOf = ({ view }) =>
  newAttempt(view.attempt, $("change").open ? $("retry").elements.setup.value : null);

$("retry").onsubmit = (event) =>
  submitted(event, async () => {
    const { branch } = event.target.elements;
    const path = `/sessions/${current.id}`;
    const body = attemptOf(current);
    const start = $("elsewhere").hidden ? "" : branch.value.trim();
    if (start) await api.call("PATCH", path, { upstreamBranch: start });
    notice(warned(await api.call("POST", `${path}/retry`, body, { once: true })));
  });
$("anew").onclick = () => {
  const warning = "The repository is cloned anew and the agent remembers nothing. What is saved then replaces what is saved now.";
  if (!confirm(`Start without the saved work? ${warning}`)) return;
  const body = { ...attemptOf(current), withoutArchive: true };
  attempt(() => api.call("POST", `/sessions/${current.id}/retry`, body, { once: true }));
};
$("download").onclick = () => {
  const { id } = current;
  attempt(async () => {
    const saved = await api.call("GET", `/sessions/${id}/archive`);
    if (current?.id === id) $("files").replaceChildren(...savedFiles(saved, id));
  });
};
function hideChanges() {
  $("work").open = false;
  $("diff").hidden = true;
  for (const name of ["changed", "whole", "diff"]) $(name).replaceChildren();
}

$("publish").onsubmit = (event) => {
  event.preventDefault();
  const { id, view } = current;
  const body = event.target.elements.pull.checked ? { pullRequest: { draft: false } } : {};
  attempt(async () => {
    const session = await api.post(`/sessions/${id}/publish`, body);
    view.work.publication = session.publication;
    if (current?.view === view) draw(current);
  });
};
$("compare").onclick = () => {
  const { id } = current;
  attempt(async () => {
    const path = `/sessions/${id}`;
    const [changes, diff] = await Promise.all([api.call("GET", `${path}/changes`), api.call("GET", `${path}/diff`)]);
    // The bucket may let no page read it: then there is the link.
    const text = await fetch(diff.url).then((answer) => (answer.ok ? answer.text() : null), () => null);
    if (current?.id !== id) return;
    $("changed").replaceChildren(...fileList(changes));
    $("whole").replaceChildren(link("The whole diff", diff.url));
    $("diff").hidden = text === null;
    $("diff").replaceChildren(...(text === null ? [] : diffLines(text)));
  });
};
$("remove").onclick = () => {
  if (!confirm("Delete this session and everything in it?")) return;
  attempt(async () => {
    await api.call("DELETE", `/sessions/${current.id}`);
    location.hash = "";
  });
};

function route() {
  readAddress();
  notice();
  const id = location.hash.slice(1);
  if (!api) {
    leave();
    show("connect");
  } else if (id.startsWith("ses_")) {
    open(id);
  } else {
    leave();
    document.title = "Headstart";
    show("create");
    const { repo, prompt } = $("create").elements;
    repo.value ||= sessionStorage.getItem("repo") ?? "";
    (repo.value ? prompt : repo).focus();
  }
  refreshList();
}

window.onhashchange = route;
setInterval(refreshList, LIST_EVERY);
setInterval(() => {
  if (current?.view.status === "preparing") drawSteps($("summary"), $("steps"), current.view);
}, TICK);
route();
