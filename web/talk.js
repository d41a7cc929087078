// The lower half of a session: the conversation, what the agent asks, what waits, and where a person writes.

import { pathOf } from "./api.js";
import { drawAsked } from "./asked.js";
import { newComposer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { fetchMessage, fetchText } from "./texts.js";

const SECOND = 1000;

// `page` is what its frame offers: `$` finds a node by its id, `current()` is the session on display with its id and
// view, `attempt` says what fails, and `submitted` does so with a form locked meanwhile.
export function newTalk(page) {
  const { $, attempt, api, current } = page;
  let conversation = null;
  const stop = (id) => attempt(() => api().call("POST", pathOf(id, "interrupt"), undefined, { once: true }));
  const composer = newComposer(page, { sent: () => conversation.toEnd(), stop });

  // The card stays locked until the cloud says what became of the answer, and takes the card away.
  async function answer(card, body) {
    const { id } = current();
    const { request } = card.dataset;
    const fields = card.querySelector("fieldset");
    fields.disabled = true;
    const sent = await attempt(() => api().call("POST", pathOf(id, "inputs", request), body, { once: true }));
    if (!sent) fields.disabled = false;
  }

  // What a button does is about the session it stands in, whichever is on display once it is done.
  function doing({ id, view }) {
    const mine = () => current()?.view === view && conversation.draw(view);
    return {
      rest: (item) =>
        attempt(async () => {
          if (item.messageId) {
            item.text = (await fetchMessage(api(), id, item.messageId))?.text ?? item.text;
            item.changed = true;
            return mine();
          }
          const { textRef, inputRef } = item.data;
          if (item.missingText) {
            await fetchText(api(), id, textRef, (text, told) => {
              item.extend(text, told);
              mine();
            });
          }
          if (item.missingInput) {
            await fetchText(api(), id, inputRef, (text, told) => {
              item.extendInput(text, told);
              mine();
            });
          }
        }),
      withdraw: ({ messageId }) =>
        attempt(async () => {
          try {
            await api().call("DELETE", pathOf(id, "messages", messageId));
          } catch (error) {
            // That it is gone may be told though no answer comes.
            if (!view.withdrawn.has(messageId)) throw error;
          }
        }),
    };
  }

  setInterval(() => current() && conversation?.tick(current().view), SECOND);

  return {
    open() {
      conversation = new Conversation($("conversation"), $("jump"), doing(current()));
      composer.open(current().id);
    },
    close() {
      conversation?.close();
      conversation = null;
      $("asked").replaceChildren();
      composer.close();
    },
    told: composer.told,
    stop,
    draw(view) {
      composer.draw(view);
      drawAsked($("asked"), view.inputs.open, answer);
      conversation.draw(view);
    },
  };
}
