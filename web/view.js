// What the page shows of a session, kept up to date event by event; knows nothing of the page.

import { Inputs } from "./inputs.js";
import { Part } from "./parts.js";
import { Queue } from "./queue.js";
import { Rest } from "./rest.js";
import { dataOf } from "./shapes.js";
import { Work } from "./work.js";

export const STEPS = {
  sandbox: "Starting the sandbox",
  disk: "Checking the disk",
  clone: "Cloning the repository",
  branch: "Checking out the branch",
  restore: "Restoring the agent's session",
  setup: "Running setup commands",
  agent: "Starting the agent",
  deliver: "Delivering the first message",
};

const OUTPUT_TAIL = 8 * 1024;

const newStep = (title) => ({ title, status: "pending", elapsed: 0, eta: null, seenAt: 0, revision: -1, output: "" });

export class View {
  session = null;
  status = "preparing";
  attempt = 0;
  steps = new Map();
  receipt = null;
  failure = null;
  turn = null;
  items = [];
  inputs = new Inputs();
  queue = new Queue();
  rest = new Rest();
  work = new Work();
  #parts = new Map();

  constructor() {
    this.#resetSteps();
  }

  // A follow-up may be typed once the agent has accepted a message, and into a sleeping session.
  get unlocked() {
    return ["ready", "running", "stopping", "asleep"].includes(this.status);
  }

  // Messages wait for a person, who need not wait for a preparation, a turn or a retry.
  get held() {
    return this.queue.held && !this.turn && (this.unlocked || this.status === "prepared");
  }

  apply(event) {
    const data = dataOf(event);
    this.inputs.apply(event);
    this.queue.apply(event, data);
    this.rest.apply(event, data);
    this.work.apply(event, data);
    HANDLERS[event.type]?.call(this, data, event);
  }

  // What who created a session knows of it before the cloud tells anything.
  begin({ attemptNumber }) {
    this.#beginAttempt(attemptNumber);
    Object.assign(this.steps.values().next().value, { status: "running", seenAt: performance.now() });
  }

  // An event from before the snapshot would bring back an older title.
  rename(title, eventId = Infinity) {
    if (this.session && eventId > this.session.lastEventId) this.session.title = title;
  }

  snapshot(session, event) {
    this.session = session;
    this.status = session.status;
    this.failure = session.failure;
    this.turn = session.activeTurn?.turnId ?? null;
    if (session.attempt.number < this.attempt) return;
    this.#beginAttempt(session.attempt.number);
    for (const state of session.attempt.steps) {
      const step = this.step(state.step);
      if (step.revision > session.attempt.revision) continue;
      const { status, message, percent } = state;
      Object.assign(step, { status, message, percent, revision: session.attempt.revision });
      step.output = state.output || step.output;
      if (state.startedAt) {
        const end = Date.parse(state.endedAt ?? event.timestamp ?? state.startedAt);
        this.#clock(step, Math.max(0, end - Date.parse(state.startedAt)));
      }
    }
  }

  preparing(data) {
    this.#beginAttempt(data.attemptNumber);
    const step = this.step(data.step);
    // A frame that was overtaken is dropped, so a later step's start also ends the earlier ones.
    for (const earlier of this.steps.values()) {
      if (earlier === step) break;
      if (earlier.status === "running") Object.assign(earlier, { status: "completed", message: null });
    }
    step.status = data.status;
    step.revision = data.revision;
    // What a step was at is no news of it once it has ended.
    step.message = data.message ?? (step.status === "running" ? step.message : null);
    step.percent = data.percent ?? step.percent;
    step.eta = data.etaMs;
    step.output = (step.output + data.output).slice(-OUTPUT_TAIL);
    this.#clock(step, data.elapsedMs);
  }

  attemptBegan(data) {
    this.status = "preparing";
    this.failure = null;
    this.#beginAttempt(data.attemptNumber);
  }

  attemptDone(status, { receipt }) {
    this.status = status;
    this.receipt = receipt;
    for (const line of receipt.steps) {
      Object.assign(this.step(line.step), { status: line.status, elapsed: line.elapsedMs });
    }
  }

  attemptFailed({ failure }) {
    this.status = "failed";
    this.failure = failure;
    this.turn = null;
    if (failure.step) this.step(failure.step).status = "failed";
  }

  fallAsleep() {
    this.status = "asleep";
    this.turn = null;
    this.note(`The session fell asleep: ${this.rest.why}.`, this.rest.saved === false);
  }

  turnStarted({ turnId }) {
    this.turn = turnId;
    if (this.status !== "preparing") this.status = "running";
  }

  turnEnded(note) {
    this.turn = null;
    if (this.status === "running") this.status = "ready";
    if (note) this.note(note, true);
  }

  undelivered({ code, reason }) {
    this.turn = null;
    const unknown = code === "DeliveryUnknown";
    const what = unknown ? "It is not known whether the agent got the message" : "The message was not delivered";
    this.note(`${what}: ${reason}`, true);
  }

  message({ messageId, text }) {
    this.items.push({ kind: "user", key: `user ${messageId}`, text });
  }

  note(text, bad = false) {
    this.items.push({ kind: "note", key: `note ${this.items.length}`, text, bad });
  }

  part({ partId, kind }) {
    let part = this.#parts.get(partId);
    if (!part) {
      part = new Part();
      this.#parts.set(partId, part);
      this.items.push({ kind: "part", key: `part ${partId}`, part });
    }
    part.kind = kind ?? part.kind;
    part.changed = true;
    return part;
  }

  step(name) {
    if (!this.steps.has(name)) this.steps.set(name, newStep(name));
    return this.steps.get(name);
  }

  #clock(step, elapsed) {
    step.elapsed = elapsed;
    step.seenAt = performance.now();
  }

  #beginAttempt(number) {
    if (number <= this.attempt) return;
    this.attempt = number;
    this.receipt = null;
    this.#resetSteps();
  }

  #resetSteps() {
    this.steps = new Map(Object.entries(STEPS).map(([name, title]) => [name, newStep(title)]));
  }
}

const HANDLERS = {
  __proto__: null,
  "session.snapshot"(data, event) { this.snapshot(data, event); },
  preparing(data) { this.preparing(data); },
  "session.preparing"(data) { this.attemptBegan(data); },
  "session.prepared"(data) { this.attemptDone("prepared", data); },
  "session.ready"(data) { this.attemptDone(this.turn ? "running" : "ready", data); },
  "session.failed"(data) { this.attemptFailed(data); },
  "session.renamed"({ title }, { eventId }) { this.rename(title, eventId); },
  "session.asleep"() { this.fallAsleep(); },
  "session.deleted"() { this.status = "deleted"; },
  "message.queued"(data) { this.message(data); },
  "message.failed"(data) { this.undelivered(data); },
  "message.held"() { this.turn = null; }, // also a claimed one that never started
  "turn.started"(data) { this.turnStarted(data); },
  "turn.completed"() { this.turnEnded(); },
  "turn.failed"(data) { this.turnEnded(`The turn failed: ${data.reason}`); },
  "turn.interrupted"() { this.turnEnded("The turn was stopped."); },
  "agent.event"(data) { this.part(data).settle(data); },
  "agent.delta"(data) { this.part(data).grow(data.offset, data.text); },
  "agent.snapshot"(data) { for (const open of data.parts) this.part(open).grow(0, open.text); },
};
