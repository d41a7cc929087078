// What an event had only the beginning of: a long text of the agent, piece by piece, and a person's message.

import { pathOf } from "./api.js";

const PAGES = 100; // of a megabyte at most; a text has four

// Calls `onText` with all that there is so far, from the beginning on.
export async function fetchText(api, sessionId, ref, onText) {
  let [text, cursor] = ["", null];
  for (let page = 0; page < PAGES; page += 1) {
    const query = cursor ? `?${new URLSearchParams({ cursor })}` : "";
    const answer = await api.call("GET", pathOf(sessionId, "texts", ref) + query);
    text += answer.items.map((piece) => piece.text).join("");
    onText(text, answer);
    cursor = answer.nextCursor;
    // More may come of an incomplete one; a person asks for it again.
    if (!cursor || (!answer.complete && !answer.items.length)) return;
  }
}

export async function fetchMessage(api, sessionId, messageId) {
  let cursor = null;
  do {
    const query = cursor ? `?${new URLSearchParams({ cursor })}` : "";
    const answer = await api.call("GET", pathOf(sessionId, "messages") + query);
    const found = answer.items.find((message) => message.messageId === messageId);
    if (found) return found;
    cursor = answer.nextCursor;
  } while (cursor);
  return null;
}
