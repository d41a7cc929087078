// The viewer's side of the stream without any I/O: frames in, events to apply in order out.
//
// The same as client/headstart_client/reducer.py, and tested with the same frames. Persisted events
// are numbered without gaps, so each is applied exactly when it is the next one, whether a replay
// or a live frame brought it. What is known to exist but has not come is asked for again.

import { dataOf, eventsOf, frameOf } from "./shapes.js";

export const CAUGHT_UP = "client.caught_up";

const GAP_WAIT = 1;
const GAP_WAIT_CAP = 30;
const ATTEMPT_ENDS = new Set(["session.prepared", "session.ready", "session.failed"]);

const isLower = (a, b) => a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);
const later = (a, b) => (isLower(a, b) ? b : a);

export class Reducer {
  #known;
  #held = new Map();
  #replaying = false;
  #inVain = 0;
  #progress = [0, 0];

  constructor(after = 0) {
    this.after = after;
    this.deleted = false;
    this.#known = after;
  }

  // A replay goes on, or an event is known to exist that has not come.
  get incomplete() {
    return this.#replaying || this.after < this.#known;
  }

  // The frame that asks for everything after the last event applied.
  subscribe() {
    this.#replaying = true;
    this.#inVain += 1;
    return { action: "subscribe", after: this.after };
  }

  // The events to apply now, and in how many seconds to subscribe again (null: not at all). When
  // the time has come, `incomplete` says whether it is still needed.
  feed(raw) {
    const frame = frameOf(raw);
    switch (frame.type) {
      case "events": {
        const events = frame.events.flatMap(eventsOf).flatMap((event) => this.#take(event));
        return { events, again: this.#replaying ? null : this.#gap() };
      }
      case "replayed":
        return this.#replayed(frame.through, frame.more);
      case "pong":
        this.#known = Math.max(this.#known, frame.lastEventId);
        return { events: [], again: this.incomplete ? 0 : null };
      default:
        return { events: [], again: null };
    }
  }

  #replayed(through, more) {
    this.#replaying = false;
    this.#known = Math.max(this.#known, more ? through + 1 : through);
    if (this.incomplete) {
      return { events: [], again: more && this.after >= through ? 0 : this.#gap() };
    }
    this.#inVain = 0;
    return { events: [{ eventId: null, type: CAUGHT_UP, data: {} }], again: null };
  }

  #gap() {
    if (!this.incomplete) return null;
    return Math.min(GAP_WAIT * 2 ** Math.max(0, this.#inVain - 1), GAP_WAIT_CAP);
  }

  #take(event) {
    if (event.eventId === null) {
      return this.#isNews(event) ? [event] : [];
    }
    if (event.eventId > this.after) {
      this.#known = Math.max(this.#known, event.eventId);
      this.#held.set(event.eventId, event);
    }
    const applied = [];
    while (this.#held.has(this.after + 1)) {
      this.after += 1;
      this.#inVain = 0;
      const following = this.#held.get(this.after);
      this.#held.delete(this.after);
      this.#endProgress(following);
      applied.push(following);
    }
    return applied;
  }

  #isNews(event) {
    const { type } = event;
    const data = dataOf(event);
    if (type === "preparing") {
      const at = [data.attemptNumber, data.revision];
      if (isLower(at, this.#progress)) return false;
      this.#progress = at;
    } else if (type === "session.snapshot") {
      this.#known = Math.max(this.#known, data.lastEventId);
      const revision = data.status === "preparing" ? data.attempt.revision : Infinity;
      this.#progress = later(this.#progress, [data.attempt.number, revision]);
    } else if (type === "session.deleted") {
      this.deleted = true;
    }
    return true;
  }

  // No progress of an attempt may be shown once its end has been.
  #endProgress(event) {
    const { type } = event;
    const data = dataOf(event);
    let at = this.#progress;
    if (ATTEMPT_ENDS.has(type)) at = [(data.receipt ?? data).attemptNumber, Infinity];
    else if (type === "session.asleep") at = [at[0], Infinity];
    else if (type === "session.preparing") at = [data.attemptNumber, 0];
    this.#progress = later(this.#progress, at);
  }
}
