// The page: which of its parts an address leads to, and what keeps it up to date.

import { onConnect, readAddress, showConnect } from "./connecting.js";
import { showCreate } from "./creating.js";
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
  const session = await attempt(fetchSession);
  // Who went elsewhere meanwhile stays there.
  if (session && state.api && location.hash.slice(1) === id) session.open(id);
}

onConnect(route);
window.onhashchange = route;
route();
