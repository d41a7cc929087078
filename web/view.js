// What the page shows of a session, kept up to date event by event; knows nothing of the page.

import { answered, Inputs, told } from "./inputs.js";
import { Part } from "./parts.js";
import { Preparation } from "./preparation.js";
import { Queue } from "./queue.js";
import { Rest } from "./rest.js";
import { dataOf, shaped, USAGE } from "./shapes.js";
import { timed } from "./status.js";
import { counted } from "./text.js";
import { Work } from "./work.js";

const LIKE = 1000; // characters of a long error by which it is known

export class View {
  session = null;
  status = "preparing";
  preparation = new Preparation();
  failure = null;
  turn = null;
  items = []; // what is said and done, each answer under its message
  waiting = new Map(); // the messages whose turn has not begun, in their order
  retrying = null; // why the model's provider is asked again
  apart = false; // the sandbox's connection is lost
  inputs = new Inputs();
  queue = new Queue();
  rest = new Rest();
  work = new Work();
  withdrawn = new Set(); // the ids of messages
  #asked = new Map();
  #titled = 0; // the event that its title is of
  #moved = 0; // the event that its address is of
  #taken = null; // the id of a message that the cloud took, until its event comes
  #begun = 0; // turns
  #kept = null; // {id, told} of a message that its button alone sends; `told` once it was said to be held
  #wakes = false; // the preparation is of a session that slept
  #turnFrom = 0; // where the items of the turn begin
  #told = null; // a time of the cloud, and when it came by the clock that nobody sets
  #parts = new Map();

  get attempt() {
    return this.preparation.attempt;
  }

  get steps() {
    return this.preparation.steps;
  }

  get receipt() {
    return this.preparation.receipt;
  }

  step(name) {
    return this.preparation.step(name);
  }

  // Messages wait for a person, who need not wait for a preparation, a turn or a retry.
  get held() {
    return this.queue.held && !this.turn && ["prepared", "ready", "running", "stopping", "asleep"].includes(this.status);
  }

  // Whether the agent gets what is written as soon as nothing is before it.
  get awake() {
    return ["ready", "running"].includes(this.status);
  }

  // Whether there is a turn to stop, or a message on its way to one: none leaves while work is published.
  get goes() {
    if (this.turn !== null) return true;
    const comes = this.awake ? this.queue.moves || this.#taken !== null : this.status === "prepared" && this.queue.moves;
    return comes && this.work.publication?.status !== "publishing";
  }

  // What is held goes by its button alone and not with another message: a person wanted it so, or the agent may have it.
  get keptBack() {
    return this.held && this.#kept !== null && this.waiting.keys().next().value === this.#kept.id;
  }

  // Whether the agent had a message at all.
  get begun() {
    return this.#begun > 0;
  }

  // A preparation that is stopped for nothing lost: it sleeps on.
  get wakes() {
    return this.status === "preparing" && this.#wakes;
  }

  get waitsForYou() {
    return this.inputs.open.size > 0;
  }

  // What goes on and is not in the conversation yet.
  get activity() {
    if (this.apart) return "The connection to the sandbox is lost; it comes back by itself";
    if (!this.turn) return "";
    if (this.waitsForYou) return "The agent waits for your answer";
    if (this.retrying !== null) return `The model's provider fails (${this.retrying}); the agent tries again`;
    const part = this.items.at(-1)?.part;
    return part && part.open ? "" : "The agent is thinking";
  }

  // The cloud's time.
  get now() {
    return this.#told ? this.#told.time + performance.now() - this.#told.at : Date.now();
  }

  // Whether a person may take a waiting message back: not the first, before it was delivered once.
  withdrawable({ messageId, first }) {
    return !(first && !this.begun) && ["queued", "held"].includes(this.queue.status(messageId));
  }

  apply(event) {
    const data = dataOf(event);
    if (event.eventId === null && event.timestamp) this.#told = { time: Date.parse(event.timestamp), at: performance.now() };
    this.inputs.apply(event);
    this.queue.apply(event, data);
    this.rest.apply(event, data);
    this.work.apply(event, data);
    HANDLERS[event.type]?.call(this, data, event);
  }

  // What who created a session knows of it before the cloud tells anything.
  begin({ attemptNumber, prompt }) {
    this.preparation.begin(attemptNumber, { started: true });
    // Until its event brings it with its id.
    this.waiting.set("", { kind: "user", key: "user", messageId: "", text: prompt, first: true });
  }

  // An event from before the snapshot would bring back an older title, and so would an answer that comes late.
  rename(title, eventId) {
    if (!this.session || eventId <= Math.max(this.session.lastEventId, this.#titled)) return;
    this.#titled = eventId;
    this.session.title = title;
  }

  move(gitUrl, eventId) {
    if (!this.session || eventId <= Math.max(this.session.lastEventId, this.#moved)) return;
    this.#moved = eventId;
    this.session.repository.gitUrl = gitUrl;
  }

  snapshot(session, event) {
    this.session = session;
    this.status = session.status;
    this.failure = session.failure;
    this.turn = session.activeTurn?.turnId ?? null;
    this.apart = false;
    this.preparation.snapshot(session.attempt, event.timestamp);
  }

  attemptBegan(data) {
    this.#wakes = data.cause === "wake";
    this.status = "preparing";
    this.apart = false;
    this.failure = null;
    this.preparation.begin(data.attemptNumber);
  }

  attemptDone(status, { receipt }) {
    this.status = status;
    this.apart = false;
    if (status === "prepared") this.#kept = { id: this.waiting.keys().next().value, told: false };
    this.preparation.done(receipt);
  }

  attemptFailed({ failure }) {
    this.status = "failed";
    this.apart = false;
    this.failure = failure;
    this.#endTurn("lost");
    if (failure.step) this.step(failure.step).status = "failed";
  }

  fallAsleep() {
    this.status = "asleep";
    this.apart = false;
    this.#endTurn("lost");
    const lost = this.rest.saved === false;
    this.note(`${lost ? "The sandbox is gone" : "The session fell asleep"}: ${timed(this.rest.why)}.`, lost);
  }

  message({ messageId, text, textBytes }) {
    this.waiting.delete("");
    if (messageId === this.#taken) this.#taken = null;
    const first = !this.items.some(({ kind }) => kind === "user") && !this.waiting.size;
    this.waiting.set(messageId, { kind: "user", key: `user ${messageId}`, messageId, text, bytes: textBytes, first });
  }

  // It waits where it did, for who reads it or is yet to come.
  reword({ messageId, text, textBytes }) {
    const message = this.waiting.get(messageId);
    if (message) Object.assign(message, { text, bytes: textBytes, changed: true });
  }

  // A person released what is held here, of which no event tells.
  release() {
    this.queue.release();
    this.#kept = null;
  }

  // The answer to a message may come before its event, or long after.
  taken(messageId) {
    const told = !messageId || this.waiting.has(messageId) || this.withdrawn.has(messageId) || this.items.some((item) => item.messageId === messageId);
    if (!told) this.#taken = messageId;
  }

  // A message takes its place once the agent works on it, so that its answer stands below it.
  turnStarted({ turnId, messageId }) {
    this.turn = turnId;
    this.retrying = null;
    if (this.status !== "preparing") this.status = "running";
    const message = this.waiting.get(messageId);
    this.waiting.delete(messageId);
    if (message) this.items.push(message);
    this.#begun += 1;
    this.#turnFrom = this.items.length;
  }

  turnCompleted({ usage }) {
    this.#endTurn("lost");
    if (this.status === "ready" && this.queue.moves) this.status = "running"; // the next turn begins at once
    const used = shaped(USAGE, usage);
    const tokens = used.inputTokens + used.outputTokens + used.reasoningTokens;
    const cost = used.cost ? `, $${used.cost.toFixed(used.cost < 0.1 ? 4 : 2)}` : "";
    const written = (used.outputTokens + used.reasoningTokens).toLocaleString("en");
    if (tokens || cost) this.note(`${counted(used.inputTokens, "token")} read, ${written} written${cost}`);
  }

  // The agent may have told the same itself.
  turnFailed(data) {
    const { reason, textRef } = data;
    for (const { part } of this.#turnItems("error")) {
      // Of what is long both have a beginning only.
      part.told = reason.includes(part.data.textRef ? part.text.slice(0, LIKE) : part.text);
      part.changed = true;
    }
    this.#endTurn("lost");
    if (!textRef) return this.note(`The turn failed: ${reason}`, true);
    const part = Object.assign(new Part(), { kind: "error", lead: "The turn failed: ", changed: true });
    part.settle({ ...data, text: reason });
    this.items.push({ kind: "part", key: `note ${this.items.length}`, part });
  }

  // What the agent calls an error then is that it was stopped.
  turnStopped() {
    for (const { part } of this.#turnItems("error")) part.told = part.changed = true;
    this.#endTurn("stopped");
    this.note("The turn was stopped.");
  }

  undelivered({ messageId, code, reason }) {
    this.turn = null;
    const unknown = code === "DeliveryUnknown";
    this.#kept = unknown ? { id: messageId, told: true } : null;
    const what = unknown ? "It is not known whether the agent got the message" : "The message was not delivered";
    this.note(`${what}: ${reason}`, true);
  }

  // Also a claimed message that never started. Told once more of the same, it was sent meanwhile and stopped.
  heldAgain({ messageId }) {
    if (this.#kept) this.#kept = this.#kept.told || this.#kept.id !== messageId ? null : { id: messageId, told: true };
    this.turn = null;
    if (this.status === "running") this.status = "ready";
  }

  asks(asked) {
    this.#asked.set(asked.requestId, asked);
  }

  answered(resolved) {
    const asked = this.#asked.get(resolved.requestId);
    this.#asked.delete(resolved.requestId);
    if (asked) this.note(`${told(asked)} ${answered(resolved)}`);
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
    this.retrying = null;
    this.apart = false;
    return part;
  }

  partTold(data, { timestamp }) {
    const part = this.part(data);
    part.settle(data);
    part.beganAt ??= timestamp && Date.parse(timestamp);
    if (!part.open) part.endedAt = timestamp && Date.parse(timestamp);
  }

  #turnItems(kind) {
    return this.items.slice(this.#turnFrom).filter(({ part }) => part && (kind === undefined || part.kind === kind));
  }

  // What has not ended by itself says how it did.
  #endTurn(how) {
    for (const { part } of this.#turnItems()) if (part.open) Object.assign(part, { cut: how, changed: true });
    this.turn = null;
    this.retrying = null;
    this.#turnFrom = this.items.length;
    if (this.status === "running") this.status = "ready";
  }
}

const HANDLERS = {
  __proto__: null,
  "session.snapshot"(data, event) { this.snapshot(data, event); },
  preparing(data) { this.preparation.progress(data); },
  "session.preparing"(data) { this.attemptBegan(data); },
  "session.prepared"(data) { this.attemptDone("prepared", data); },
  "session.ready"(data) { this.attemptDone(this.turn ? "running" : "ready", data); },
  "session.failed"(data) { this.attemptFailed(data); },
  "session.renamed"({ title }, { eventId }) { this.rename(title, eventId); },
  "session.moved"({ gitUrl }, { eventId }) { this.move(gitUrl, eventId); },
  "session.asleep"() { this.fallAsleep(); },
  "session.deleted"() { this.status = "deleted"; },
  "message.queued"(data) { this.message(data); },
  "message.changed"(data) { this.reword(data); },
  "message.failed"(data) { this.undelivered(data); },
  "message.held"(data) { this.heldAgain(data); },
  "message.withdrawn"({ messageId }) {
    this.waiting.delete(messageId);
    this.withdrawn.add(messageId);
  },
  "turn.started"(data) { this.turnStarted(data); },
  "turn.completed"(data) { this.turnCompleted(data); },
  "turn.failed"(data) { this.turnFailed(data); },
  "turn.interrupted"() { this.turnStopped(); },
  "turn.retrying"(data) { this.retrying = data.reason; },
  // A sandbox that is given up loses its connection as well, and that one does not come back.
  "runner.disconnected"() { this.apart = !["asleep", "failed"].includes(this.status); },
  "runner.reconnected"() { this.apart = false; },
  "input.requested"(data) { this.asks(data); },
  "input.resolved"(data) { this.answered(data); },
  "agent.event"(data, event) { this.partTold(data, event); },
  "agent.delta"(data) { this.part(data).grow(data.offset, data.text); },
  "agent.snapshot"(data) { for (const open of data.parts) this.part(open).grow(0, open.text); },
};
