// The page: which of its parts an address leads to, and what keeps it up to date.

import { onConnect, readAddress, showConnect } from "./connecting.js";
import { showCreate } from "./creating.js";
import { element } from "./dom.js";
import { fetchSession, SESSION_ID } from "./later.js";
import "./notices.js";
import { $, attempt, leave, notice, said, show, state } from "./page.js";
import { keepList } from "./sessions.js";

// The next thing a person does is to open a session.
const whenIdle = globalThis.requestIdleCallback ?? setTimeout;

$("new").onclick = () => {
  if (location.hash) location.hash = "";
  else route();
};

function route() {
  const why = readAddress();
  notice(said());
  const id = location.hash.slice(1);
  if (!state.api) {
    leave();
    showConnect(why);
  } else if (SESSION_ID.test(id)) {
    open(id);
  } else {
    leave();
    showCreate();
    whenIdle(() => fetchSession().catch(() => {}));
  }
  keepList();
}

async function open(id) {
  leave();
  show("session");
  $("session").dataset.known = "false";
  $("opening").hidden = false;
  const session = await attempt(fetchSession);
  // Who went elsewhere meanwhile stays there.
  if (!state.api || location.hash.slice(1) !== id) return;
  if (session) return session.open(id);
  $("opening").hidden = true;
  offer(id);
}

function offer(id) {
  const again = element("button", "", "Try again");
  again.type = "button";
  again.onclick = () => open(id);
  $("notice").append(" ", again);
  // It takes the place of the one that was pressed.
  if (document.activeElement === document.body) again.focus();
}

onConnect(route);
window.onhashchange = route;
route();
