// The page: which of its parts an address leads to, and what keeps it up to date.

import { newCard } from "./asked.js";
import { drawPart, newItem } from "./conversation.js";
import { onConnect, readAddress } from "./connecting.js";
import { showCreate } from "./creating.js";
import { element, setText } from "./dom.js";
import { $, attempt, leave, notice, show, state, submitted } from "./page.js";
import { onTalk, open, tick } from "./session.js";
import { refreshList } from "./sessions.js";

const LIST_EVERY = 5000;
const TICK = 250;

function drawTalk({ view, nodes }) {
  drawHeld(view);
  drawConversation(view, nodes);
  drawComposer(view);
}

function drawHeld(view) {
  $("held").hidden = !view.held;
  const first = view.status === "prepared";
  setText($("waits"), first ? "Everything is ready and the prompt is held." : "What you wrote waits: nothing more is sent by itself.");
  setText($("initiate"), first ? "Start the agent" : "Send what waits");
}

function drawConversation(view, nodes) {
  const log = $("conversation");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  drawAsked(view); // whose room is taken from the log
  for (const item of view.items) {
    let node = nodes.get(item.key);
    if (!node) {
      node = newItem(item);
      nodes.set(item.key, node);
      log.append(node);
    }
    if (item.part?.changed) drawPart(node, item.part);
  }
  const thinking = log.querySelector(".thinking");
  const waits = view.turn && view.items.at(-1)?.kind === "user" && !view.inputs.open.size;
  if (waits && !thinking) log.append(element("p", "note thinking", "The agent is thinking"));
  if (!waits) thinking?.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// A request's card is made once and taken away once, so that a choice half made stays.
function drawAsked(view) {
  const shown = new Map([...$("asked").children].map((card) => [card.dataset.request, card]));
  for (const [id, card] of shown) if (!view.inputs.open.has(id)) card.remove();
  for (const [id, asked] of view.inputs.open) if (!shown.has(id)) $("asked").append(newCard(asked, answer));
}

// The card stays locked until the cloud says what became of the answer, and takes the card away.
async function answer(card, body) {
  const fields = card.querySelector("fieldset");
  fields.disabled = true;
  const path = `/sessions/${state.current.id}/inputs/${encodeURIComponent(card.dataset.request)}`;
  const sent = await attempt(() => state.api.call("POST", path, body, { once: true }));
  if (!sent) fields.disabled = false;
}

function drawComposer(view) {
  const hints = {
    preparing: "You can write once the agent has your first message…",
    prepared: "Start the agent first",
    failed: view.failure?.retryable ? "Try again first, then write" : "The session failed: start a new one",
    asleep: "Write to wake the session",
  };
  const [text, button] = [$("text"), $("message").querySelector("button")];
  text.disabled = button.disabled = !view.unlocked;
  text.placeholder = hints[view.status] ?? "Write a message";
}

$("message").onsubmit = (event) =>
  submitted(event, async () => {
    const text = $("text").value;
    await state.api.post(`/sessions/${state.current.id}/messages`, { prompt: text });
    if ($("text").value === text) $("text").value = "";
    $("text").focus();
  }).then(() => state.current && drawComposer(state.current.view));

$("text").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("message").requestSubmit();
  }
};

$("initiate").onclick = () => {
  const { id, view } = state.current;
  attempt(async () => {
    await state.api.call("POST", `/sessions/${id}/initiate`);
    view.queue.release();
    if (state.current?.view === view) drawHeld(view);
  });
};

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
onTalk(drawTalk);
window.onhashchange = route;
setInterval(refreshList, LIST_EVERY);
setInterval(tick, TICK);
route();
