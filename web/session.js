// The frame of one session followed live: what it is called, how it is prepared, why it failed, its work.

import { newAttempt } from "./bodies.js";
import { diffLines, drawWork, fileList, link } from "./changes.js";
import { warningOf } from "./creating.js";
import { setText } from "./dom.js";
import { drawFailure } from "./failure.js";
import { follow } from "./follow.js";
import { $, attempt, leave, notice, show, state, submitted } from "./page.js";
import { drawLeftOut, savedFiles } from "./saved.js";
import { tellList } from "./sessions.js";
import { drawSteps } from "./steps.js";
import { newTalk } from "./talk.js";
import { plain } from "./text.js";
import { View } from "./view.js";
import { warned } from "./warnings.js";

const talk = newTalk({ $, attempt, submitted, api: () => state.api, current: () => state.current });

export function open(id) {
  leave();
  show("session");
  const mine = { id, view: new View(), stop: new AbortController(), lost: "" };
  state.current = mine;
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
      if (state.current === mine) draw(mine);
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
    if (state.current === mine && (error.status === 404 || !mine.view.session)) {
      leave();
      document.title = "Headstart";
      show("");
    }
    throw error;
  };
  attempt(() => follow(state.api, id, options).catch(ended), warningOf(id)).then(() => {
    if (state.current === mine && mine.view.status === "deleted") location.hash = "";
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
  if (view.session) tellList(id, view.status);
  $("stop").hidden = !(view.turn || view.status === "preparing");
  drawSteps($("summary"), $("steps"), view);
  drawFailure($, view, id);
  drawLeftOut($("left"), view.rest.leftOut);
  drawWork({ work: $("work"), worked: $("worked"), published: $("published"), page: $("page"), publish: $("send-work") }, view);
  talk.draw(view);
}

$("stop").onclick = () =>
  attempt(() => state.api.call("POST", `/sessions/${state.current.id}/interrupt`, undefined, { once: true }));
// The next attempt, with the setup commands as the form has them.
const attemptOf = ({ view }) =>
  newAttempt(view.attempt, $("change").open ? $("retry").elements.setup.value : null);

$("retry").onsubmit = (event) =>
  submitted(event, async () => {
    const { branch } = event.target.elements;
    const path = `/sessions/${state.current.id}`;
    const body = attemptOf(state.current);
    const start = $("elsewhere").hidden ? "" : branch.value.trim();
    if (start) await state.api.call("PATCH", path, { upstreamBranch: start });
    notice(warned(await state.api.call("POST", `${path}/retry`, body, { once: true })));
  });
$("anew").onclick = () => {
  const warning = "The repository is cloned anew and the agent remembers nothing. What is saved then replaces what is saved now.";
  if (!confirm(`Start without the saved work? ${warning}`)) return;
  const body = { ...attemptOf(state.current), withoutArchive: true };
  attempt(() => state.api.call("POST", `/sessions/${state.current.id}/retry`, body, { once: true }));
};
$("download").onclick = () => {
  const { id } = state.current;
  attempt(async () => {
    const saved = await state.api.call("GET", `/sessions/${id}/archive`);
    if (state.current?.id === id) $("files").replaceChildren(...savedFiles(saved, id));
  });
};
function hideChanges() {
  $("work").open = false;
  $("diff").hidden = true;
  for (const name of ["changed", "whole", "diff"]) $(name).replaceChildren();
}

$("publish").onsubmit = (event) => {
  event.preventDefault();
  const { id, view } = state.current;
  const body = event.target.elements.pull.checked ? { pullRequest: { draft: false } } : {};
  attempt(async () => {
    const session = await state.api.post(`/sessions/${id}/publish`, body);
    view.work.publication = session.publication;
    if (state.current?.view === view) draw(state.current);
  });
};
$("compare").onclick = () => {
  const { id } = state.current;
  attempt(async () => {
    const path = `/sessions/${id}`;
    const [changes, diff] = await Promise.all([state.api.call("GET", `${path}/changes`), state.api.call("GET", `${path}/diff`)]);
    // The bucket may let no page read it: then there is the link.
    const text = await fetch(diff.url).then((answer) => (answer.ok ? answer.text() : null), () => null);
    if (state.current?.id !== id) return;
    $("changed").replaceChildren(...fileList(changes));
    $("whole").replaceChildren(link("The whole diff", diff.url));
    $("diff").hidden = text === null;
    $("diff").replaceChildren(...(text === null ? [] : diffLines(text)));
  });
};
$("remove").onclick = () => {
  if (!confirm("Delete this session and everything in it?")) return;
  attempt(async () => {
    await state.api.call("DELETE", `/sessions/${state.current.id}`);
    location.hash = "";
  });
};

export function tick() {
  const { current } = state;
  if (current?.view.status === "preparing") drawSteps($("summary"), $("steps"), current.view);
}
