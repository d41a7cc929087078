// What waits for the agent, and whether it waits for a person, kept up to date event by event.

const AT_REST = new Set(["prepared", "ready", "asleep"]);

export class Queue {
  #waiting = new Set();
  #held = false;
  #byInitiate = false; // another message doesn't release it
  #through = 0;

  // Whether nothing in it goes on by itself.
  get held() {
    return this.#held && this.#waiting.size > 0;
  }

  // Takes in an event and what it says; a replay of what the last snapshot includes changes nothing.
  apply({ type, eventId }, data) {
    if (type === "session.snapshot") this.#snapshot(data);
    else if ((eventId ?? Infinity) > this.#through) HANDLERS[type]?.call(this, data);
  }

  release() {
    this.#held = this.#byInitiate = false;
  }

  #snapshot({ lastEventId, queue, status, activeTurn }) {
    this.#through = lastEventId;
    this.#waiting = new Set(queue.map(({ messageId }) => messageId));
    // What may go on at rest is on its way, and then there is a turn.
    this.#held = AT_REST.has(status) && !activeTurn;
    this.#byInitiate = queue.some((message) => message.status === "held");
  }

  queued({ messageId }) {
    this.#waiting.add(messageId);
    if (!this.#byInitiate) this.#held = false;
  }

  started({ messageId }) {
    this.#waiting.delete(messageId);
    this.release();
  }

  hold(byInitiate) {
    this.#held = true;
    this.#byInitiate ||= byInitiate;
  }
}

const HANDLERS = {
  __proto__: null,
  "message.queued"(data) { this.queued(data); },
  "message.failed"() { this.hold(true); },
  "turn.started"(data) { this.started(data); },
  "turn.failed"() { this.hold(false); },
  "turn.interrupted"() { this.hold(false); },
  "session.preparing"() { this.release(); },
  "session.prepared"() { this.hold(true); },
  "session.asleep"() { this.hold(false); },
};
