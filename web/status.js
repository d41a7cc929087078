// How a session's status is told, in the list, on the pill, in the title and on the tab.

const WORDS = { prepared: "prepared, not started", deleting: "being deleted" };

// What waits there waits for a person, but for moments: until the work is published, or the sandbox is back.
const RESTS = ["ready", "asleep"];

// {status, words}: the status is for colours, and has two of its own, `waits` and `stopped`. A list tells how long a
// queue is, the session itself whether it is held.
export function told({ status, failure = null, waitsForYou = false, held = false, queueLength = 0 }) {
  if (waitsForYou) return { status: "waits", words: "waits for you" };
  if (RESTS.includes(status) && (held || queueLength > 0)) {
    return { status: "waits", words: `${status === "asleep" ? "asleep, " : ""}messages wait${held ? " for you" : ""}` };
  }
  // Who stopped a preparation knows that it did not fail.
  if (status === "failed" && failure?.code === "Cancelled") return { status: "stopped", words: "stopped" };
  return { status, words: WORDS[status] ?? status };
}

// A moment as people say it: the time of today, else the day.
export function when(moment, now = new Date()) {
  const date = new Date(moment);
  if (date.toDateString() === now.toDateString()) return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (date.toDateString() === yesterday.toDateString()) return "yesterday";
  const year = date.getFullYear() === now.getFullYear() ? {} : { year: "numeric" };
  return date.toLocaleDateString([], { day: "numeric", month: "short", ...year });
}

// The cloud's words, with the moments in them as people say them.
export function timed(text) {
  return text.replace(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, (moment) => when(moment));
}

// What a repository is called where room is short and the end is cut: the last two of its names, then its host, as
// far as that is not GitHub.
export function shortName(gitUrl) {
  const [host, ...names] = gitUrl.replace(/^\w+:\/\//, "").replace(/(\.git)?\/*$/, "").split("/");
  const name = names.slice(-2).join("/");
  return host === "github.com" ? name : name ? `${name} (${host})` : host;
}
