// Why a session sleeps and what of its work is saved, kept up to date event by event.
//
// The same as client/headstart_client/rest.py; the tests drive both with the same events.

export class Rest {
  why = null; // it sleeps, in words; null while it is awake
  saved = null;
  leftOut = []; // the names of what is not saved
  #through = 0;

  // Takes in an event and what it says; of what is saved the last snapshot knows best.
  apply({ type, eventId }, data) {
    if (type === "session.snapshot") {
      this.#through = data.lastEventId;
      this.leftOut = data.leftOut;
    } else if (type === "session.preparing") {
      this.why = null;
    } else if (type === "session.asleep") {
      this.saved = data.saved;
      const why = data.reason.replace(/\.+$/, "") || "No reason is known";
      // That it was not is mostly among the reasons.
      const unsaid = this.saved === false && !why.includes("not saved");
      this.why = why + (this.saved ? "; the work is saved" : unsaid ? "; the work was not saved" : "");
      // What could not be saved says nothing of what was saved before.
      if (this.saved && (eventId ?? Infinity) > this.#through) this.leftOut = data.leftOut;
    }
  }
}

const SIZES = [
  [86400, "day"],
  [3600, "h"],
  [60, "min"],
];

// How long ago something was, in the words of the cloud.
export function ago(seconds) {
  const [size, unit] = SIZES.find(([least]) => seconds >= least) ?? [];
  if (!size) return "a moment ago";
  return `${Math.floor(seconds / size)} ${unit}${unit === "day" && seconds >= 2 * size ? "s" : ""} ago`;
}
