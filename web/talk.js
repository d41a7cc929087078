// The lower half of a session: the conversation, what the agent asks, what waits, and where a person writes.

import { drawAsked } from "./asked.js";
import { newComposer } from "./composer.js";
import { Conversation } from "./conversation.js";

// `page` is what its frame offers: `$` finds a node by its id, `current()` is the session on display with its id and
// view, `attempt` says what fails, and `submitted` does so with a form locked meanwhile.
export function newTalk(page) {
  const { $, attempt, api, current } = page;
  const composer = newComposer(page);
  let conversation = null;

  // The card stays locked until the cloud says what became of the answer, and takes the card away.
  async function answer(card, body) {
    const fields = card.querySelector("fieldset");
    fields.disabled = true;
    const path = `/sessions/${current().id}/inputs/${encodeURIComponent(card.dataset.request)}`;
    const sent = await attempt(() => api().call("POST", path, body, { once: true }));
    if (!sent) fields.disabled = false;
  }

  return {
    open() {
      conversation = new Conversation($("conversation"));
      $("asked").replaceChildren();
    },
    draw(view) {
      const log = $("conversation");
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
      composer.draw(view);
      drawAsked($("asked"), view.inputs.open, answer);
      conversation.draw(view);
      if (atEnd) log.scrollTop = log.scrollHeight;
    },
  };
}
