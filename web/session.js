// The frame of one session followed live: what it is called, how it is prepared, why it failed, its work.

import { pathOf } from "./api.js";
import { begunOf, showCreate, warningOf } from "./creating.js";
import { setText } from "./dom.js";
import { closeFailure, drawFailure } from "./failure.js";
import { arrive, keepFocus } from "./focus.js";
import { follow } from "./follow.js";
import { closeHeading, drawHeading } from "./heading.js";
import { $, answered, attempt, goHome, leave, sentence, show, state, submitted } from "./page.js";
import { closeLogs } from "./logs.js";
import { closeLeftOut, drawLeftOut } from "./saved.js";
import { tellList } from "./sessions.js";
import { drawSteps, tellSteps } from "./steps.js";
import { newTalk } from "./talk.js";
import { View } from "./view.js";
import { closeWork, drawWork } from "./working.js";

const TICK = 250;

const talk = newTalk({ $, attempt, submitted, api: () => state.api, current: () => state.current });

export function open(id) {
  leave();
  show("session");
  const begun = begunOf(id);
  const mine = { id, view: new View(), stop: new AbortController(), lost: "", api: state.api, begun, known: Boolean(begun), arrived: false, removed: false };
  state.current = mine;
  mine.stop.signal.addEventListener("abort", close);
  if (begun) mine.view.begin(begun);
  talk.open();
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
    stream: begun?.stream,
    onEvent(event) {
      mine.lost = "";
      answered();
      mine.view.apply(event);
      talk.told(event);
      mine.known ||= Boolean(mine.view.session);
      if (event.type === "session.ready") $("preparation").open = false;
      if (event.type === "session.preparing") $("preparation").open = true;
      redraw();
    },
    onLost(reason) {
      mine.lost = sentence(reason);
      redraw();
    },
  };
  const ended = (error) => {
    // What is left of a session that isn't there would look as if it could be stopped or deleted.
    if (state.current === mine && (error.status === 404 || !mine.view.session)) {
      leave();
      if (error.status === 404) showCreate();
      else show("");
    }
    throw error;
  };
  attempt(() => follow(state.api, id, options).catch(ended), warningOf(id), { lasts: true }).then(() => {
    if (state.current !== mine || mine.view.status !== "deleted") return;
    const name = mine.view.session ? `“${mine.view.session.title}”` : "The session";
    goHome(`${name} was deleted${mine.removed ? "" : " elsewhere"}.`);
  });
  draw(mine);
}

// Nothing of it is left on the page, though out of sight.
function close() {
  talk.close();
  closeHeading();
  closeLogs();
  closeFailure();
  closeLeftOut($("left"));
  closeWork();
  for (const name of ["steps", "summary", "progress", "opening", "lost"]) $(name).replaceChildren();
  $("preparation").open = true;
}

function draw(mine) {
  const { id, view, lost, known } = mine;
  // Until something is known of a session, steps and buttons would be lies.
  $("session").dataset.known = String(known);
  $("opening").hidden = known;
  setText($("opening"), lost ? `Not yet: ${lost} It is tried again.` : "Opening the session…");
  $("lost").hidden = !lost || !known;
  setText($("lost"), `Reconnecting, and what is shown may be old: ${lost}`);
  drawHeading(mine);
  if (!known) return;
  if (!mine.arrived) arrive();
  mine.arrived = true;
  if (view.session) tellList(id, view);
  $("stop").hidden = !(view.goes || view.status === "preparing");
  drawSteps(view);
  tellSteps(view);
  drawFailure(mine);
  drawLeftOut($("left"), view.rest.leftOut);
  drawWork(view);
  talk.draw(view);
  keepFocus();
}

$("stop").onclick = async () => {
  $("stop").disabled = true;
  await talk.stop(state.current.id);
  $("stop").disabled = false;
};

$("remove").onclick = () => {
  const mine = state.current;
  if (!confirm("Delete this session and everything in it?")) return;
  attempt(async () => {
    mine.removed = true;
    try {
      await state.api.call("DELETE", pathOf(mine.id));
    } catch (error) {
      mine.removed = false;
      throw error;
    }
    if (state.current === mine) goHome();
  });
};

setInterval(() => {
  const { current } = state;
  if (!current?.known) return;
  if (current.view.status === "preparing") drawSteps(current.view);
  keepFocus();
}, TICK);
