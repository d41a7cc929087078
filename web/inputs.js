// What the agent asks people and waits for, kept up to date event by event. The same as
// client/headstart_client/inputs.py, and tested with the same events.

const ENDS = new Set(["turn.completed", "turn.failed", "turn.interrupted", "session.failed", "session.asleep"]);

export class Inputs {
  open = new Map();
  #through = 0;

  // A replay of what the last snapshot includes changes nothing.
  apply({ eventId, type, data }) {
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

export function permission({ body }) {
  const named = Array.isArray(body.patterns) ? body.patterns.join(", ") : "";
  const title = body.title || "permission";
  return named ? `${title}: ${named}` : title;
}

// Each question and the labels it offers, whatever the agent wrote.
export function questions({ body }) {
  return objects(body.questions).map(({ question, options, multiple }) => ({
    text: String(question || ""),
    labels: objects(options).map(({ label }) => String(label || "")),
    multiple: multiple === true,
  }));
}

const objects = (value) => (Array.isArray(value) ? value.filter((one) => one && typeof one === "object") : []);
