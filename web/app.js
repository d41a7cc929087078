// The page: which of its parts an address leads to, and what keeps it up to date.

import { onConnect, readAddress, showConnect } from "./connecting.js";
import { showCreate } from "./creating.js";
import { $, leave, notice, said, state } from "./page.js";
import { open, tick } from "./session.js";
import { keepList } from "./sessions.js";

const TICK = 250;
// What else an address may say would become the path of a call, made with the viewer's token.
const SESSION_ID = /^ses_[A-Za-z0-9]+$/;

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
  }
  keepList();
}

onConnect(route);
window.onhashchange = route;
setInterval(tick, TICK);
route();
