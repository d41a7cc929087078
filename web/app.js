// The page: which of its parts an address leads to, and what keeps it up to date.

import { onConnect, readAddress } from "./connecting.js";
import { showCreate } from "./creating.js";
import { $, leave, notice, show, state } from "./page.js";
import { open, tick } from "./session.js";
import { refreshList } from "./sessions.js";

const LIST_EVERY = 5000;
const TICK = 250;

$("new").onclick = () => {
  if (location.hash) location.hash = "";
  else route();
};

function route() {
  readAddress();
  notice();
  const id = location.hash.slice(1);
  if (!state.api) {
    leave();
    show("connect");
  } else if (id.startsWith("ses_")) {
    open(id);
  } else {
    leave();
    showCreate();
  }
  refreshList();
}

onConnect(route);
window.onhashchange = route;
setInterval(refreshList, LIST_EVERY);
setInterval(tick, TICK);
route();
