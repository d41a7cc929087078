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

  // Whether a message waits for the agent only.
  get moves() {
    return this.#waiting.size > 0 && !this.held;
  }

  // How a message waits; nothing for one that does not.
  status(messageId) {
    return this.#waiting.get(messageId);
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

const leave = (waiting, { messageId }) => waiting.delete(messageId);

const HANDLERS = {
  __proto__: null,
  "message.queued": (waiting, { messageId }) => waiting.set(messageId, "queued"),
  "message.held": hold,
  "message.failed": hold,
  "message.withdrawn": leave,
  "turn.started": leave,
  "session.prepared"(waiting) {
    const [first] = waiting.keys();
    if (first !== undefined) waiting.set(first, "held");
  },
};
