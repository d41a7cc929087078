// What waits for the agent, and whether it waits for a person, kept up to date event by event.
//
// The same as client/headstart_client/queue.py, but for what the page can't ask for again: that a
// session is prepared, and that a person released what waits.

export class Queue {
  #waiting = new Map(); // the messages that are not delivered yet, each with its status
  #through = 0;

  // Whether a person must release it: a message is held, and all others are behind it.
  get held() {
    return [...this.#waiting.values()].includes("held");
  }

  // Takes in an event and what it says; what the last snapshot includes changes nothing.
  apply({ type, eventId }, data) {
    if (type === "session.snapshot") {
      this.#through = data.lastEventId;
      this.#waiting = new Map(data.queue.map(({ messageId, status }) => [messageId, status]));
    } else if ((eventId ?? Infinity) > this.#through) {
      HANDLERS[type]?.(this.#waiting, data);
    }
  }

  // Somebody released it, of which no event tells before its turn starts.
  release() {
    for (const id of this.#waiting.keys()) this.#waiting.set(id, "queued");
  }
}

const hold = (waiting, { messageId }) => waiting.set(messageId, "held");

const HANDLERS = {
  __proto__: null,
  "message.queued": (waiting, { messageId }) => waiting.set(messageId, "queued"),
  "message.held": hold,
  "message.failed": hold,
  "turn.started": (waiting, { messageId }) => waiting.delete(messageId),
  "session.prepared"(waiting) {
    const [first] = waiting.keys();
    if (first !== undefined) waiting.set(first, "held");
  },
};
