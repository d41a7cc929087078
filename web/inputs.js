// What the agent asks people and waits for, kept up to date event by event. The same as
// client/headstart_client/inputs.py, and tested with the same events.

import { dataOf, PERMISSION, QUESTIONS, shaped } from "./shapes.js";

const ENDS = new Set(["turn.completed", "turn.failed", "turn.interrupted", "session.failed", "session.asleep"]);

export class Inputs {
  open = new Map();
  #through = 0;

  // A replay of what the last snapshot includes changes nothing.
  apply(event) {
    const { eventId, type } = event;
    const data = dataOf(event);
    if (type === "session.snapshot") {
      this.#through = data.lastEventId;
      this.open = new Map(data.pendingInputs.map((asked) => [asked.requestId, asked]));
    } else if ((eventId ?? Infinity) <= this.#through) {
      return;
    } else if (type === "input.requested") {
      this.open.set(data.requestId, data);
    } else if (type === "input.resolved") {
      this.open.delete(data.requestId);
    } else if (ENDS.has(type)) {
      this.open.clear();
    }
  }
}

// What a permission is for.
export function permission({ body }) {
  const { title, patterns } = shaped(PERMISSION, body);
  const named = patterns.join(", ");
  return named ? `${title || "permission"}: ${named}` : title || "permission";
}

// Each question and the labels it offers, as the agent wrote them.
export function questions({ body }) {
  return shaped(QUESTIONS, body).questions.map(({ question, options, multiple }) => ({
    text: question,
    labels: options.map(({ label }) => label),
    descriptions: options.map(({ description }) => description),
    multiple,
  }));
}

export const REPLIES = { __proto__: null, once: "Allow once", always: "Always" };

// How it ended, in words: what a person chose, where that is known.
export function answered({ outcome, answer }) {
  return REPLIES[answer?.reply] || answer?.answers.flat().join(", ") || outcome || "resolved";
}

// What was asked, once it is over.
export function told(asked) {
  if (asked.kind === "permission") return `May the agent do this? ${permission(asked)}:`;
  return `${questions(asked).map(({ text }) => text).join(" ") || "The agent asked:"}`;
}
