// Where a person writes, and what of it waits for them.

import { setText } from "./dom.js";

export function newComposer({ $, attempt, submitted, api, current }) {
  function drawHeld(view) {
    $("held").hidden = !view.held;
    const first = view.status === "prepared";
    setText($("waits"), first ? "Everything is ready and the prompt is held." : "What you wrote waits: nothing more is sent by itself.");
    setText($("initiate"), first ? "Start the agent" : "Send what waits");
  }

  function draw(view) {
    drawHeld(view);
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
      await api().post(`/sessions/${current().id}/messages`, { prompt: text });
      if ($("text").value === text) $("text").value = "";
      $("text").focus();
    }).then(() => current() && draw(current().view));

  $("text").onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      $("message").requestSubmit();
    }
  };

  $("initiate").onclick = () => {
    const { id, view } = current();
    attempt(async () => {
      await api().call("POST", `/sessions/${id}/initiate`);
      view.queue.release();
      if (current()?.view === view) drawHeld(view);
    });
  };

  return { draw };
}
