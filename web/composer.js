// Where a person writes, from the first second on, and what of it waits for them.

import { kept, pathOf } from "./api.js";
import { setText } from "./dom.js";

const draftOf = (id) => `draft ${id}`;

export function newComposer({ $, attempt, submitted, api, current }, { sent, stop }) {
  const [text, form] = [$("text"), $("message")];
  const sending = new Set(); // the sessions whose message is on its way

  function drawHeld(view) {
    $("held").hidden = !view.held;
    const first = view.status === "prepared";
    setText($("waits"), first ? "Everything is ready and the prompt is held." : "What you wrote waits: nothing more is sent by itself.");
    setText($("initiate"), first ? "Start the agent" : "Send what waits");
  }

  function draw(view) {
    drawHeld(view);
    text.placeholder = hintOf(view);
    setText($("keys"), view.turn ? "Esc stops the agent" : "");
    form.querySelector("button").disabled = sending.has(current().id) || (view.status === "failed" && !view.failure?.retryable);
  }

  // A draft is of its session, and of this tab.
  function keep(id, draft) {
    if (draft) sessionStorage.setItem(draftOf(id), draft);
    else sessionStorage.removeItem(draftOf(id));
  }

  text.oninput = () => current() && keep(current().id, text.value);

  form.onsubmit = (event) =>
    submitted(event, async () => {
      const { id } = current();
      const prompt = text.value;
      sending.add(id);
      await api()
        .post(pathOf(id, "messages"), { prompt }, kept(sessionStorage))
        .finally(() => sending.delete(id));
      if (sessionStorage.getItem(draftOf(id)) === prompt) keep(id, "");
      if (current()?.id !== id) return;
      if (text.value === prompt) text.value = "";
      // The button was locked meanwhile; who went elsewhere stays there.
      if ([undefined, document.body, text, form.querySelector("button")].includes(document.activeElement)) text.focus();
      sent();
    }).then(() => current() && draw(current().view));

  text.onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
    if (event.key === "Escape" && !event.isComposing) stop();
  };
  // Returning false would keep keys from the buttons and links in it.
  $("conversation").onkeydown = (event) => {
    if (event.key === "Escape") stop();
  };

  $("initiate").onclick = () => {
    const { id, view } = current();
    attempt(async () => {
      await api().call("POST", pathOf(id, "initiate"));
      view.queue.release();
      if (current()?.view === view) drawHeld(view);
    });
  };

  return {
    open(id) {
      text.value = sessionStorage.getItem(draftOf(id)) ?? "";
    },
    draw,
  };
}

function hintOf({ status, turn, failure, held }) {
  if (status === "failed") {
    return failure?.retryable ? "What you write waits until you try again" : "The session failed for good: start a new one";
  }
  if (status === "preparing") return "Write what comes next: it is sent when everything is ready";
  if (status === "prepared") return "Write what comes after the prompt that is held";
  if (status === "asleep") return "Write to wake the session";
  if (turn) return "Write what comes next: it waits for its turn";
  return held ? "Write a message: it sends what waits, too" : "Write a message";
}
