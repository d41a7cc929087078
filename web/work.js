// What a session changed and how far that has come, kept up to date event by event.

import { counted } from "./text.js";

// Codes of what is raised once the commit is on the remote.
const ONLY_PULL_REQUEST = ["PullRequestFailed", "PullRequestClosed"];

export class Work {
  changes = null; // {files, additions, deletions}
  publication = null; // {status, commit, url, pullRequest, note, failure}
  #through = 0;
  #told = 0; // the last event of a publication

  // Takes in an event and what it says; of what was before the last snapshot it knows best.
  apply({ type, eventId }, data) {
    if (type === "session.snapshot") {
      this.#through = data.lastEventId;
      this.changes = data.changes;
      this.publication = data.publication;
    } else if ((eventId ?? Infinity) > this.#through) {
      if (type.startsWith("work.") && type !== "work.changed") this.#told = eventId ?? this.#told;
      if (type === "work.changed") this.changes = data;
      if (type === "work.published") this.#end("published", data);
      if (type === "work.unchanged") this.#end("unchanged", data);
      if (type === "work.publish_failed") this.publication = { ...this.publication, status: "failed", failure: data };
    }
  }

  // Takes what the answer to a request says: its end may be known already, as events overtake answers.
  asked({ publication, lastEventId }) {
    if (this.#told <= lastEventId) this.publication = publication;
  }

  #end(status, { commit, url = "", pullRequest = null, note }) {
    const before = this.publication;
    this.publication = {
      status,
      commit: commit || (before?.commit ?? ""),
      url: url || (before?.url ?? ""),
      pullRequest: pullRequest ?? before?.pullRequest ?? null,
      note,
      failure: null,
    };
  }
}

export function changed({ files, additions, deletions }) {
  return `${counted(files, "file")} changed, ${counted(additions, "line")} added, ${deletions.toLocaleString("en")} deleted`;
}

// How far it has come, in words.
export function published({ status, commit, note, failure }) {
  const more = note ? ` (${note})` : "";
  if (status === "publishing") return "Publishing…";
  if (status === "unchanged") return `There is nothing new to publish${more}.`;
  const at = `Published at ${commit?.slice(0, 12)}`;
  if (status === "failed") {
    const why = failure?.reason ?? "no reason is known";
    return commit && ONLY_PULL_REQUEST.includes(failure?.code) ? `${at}; the pull request: ${why}` : `Not published: ${why}`;
  }
  return `${at}${more}.`;
}
