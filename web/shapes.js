// What events and frames hold, as far as the page reads it: whatever came, of the right types.
//
// What an agent says reaches viewers as the agent made it, and a sandbox runs untrusted code. So all
// data is read through these tables. The same as client/headstart_client/events.py, and tested with
// the same data.

const DEPTH = 8; // how deep an object is told where a text is expected
const HALF_CHARACTERS = /\p{Cs}/gu;

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// A shape is a reader, an object of named shapes, or a list of one shape; what else there is is left
// out, and what is missing or odd is as empty as its reader has it.
export function shaped(shape, value) {
  if (typeof shape === "function") return shape(value);
  if (Array.isArray(shape)) {
    const items = Array.isArray(value) ? value : [];
    const wanted = typeof shape[0] === "function" ? items : items.filter(isObject);
    return wanted.map((one) => shaped(shape[0], one));
  }
  const given = isObject(value) ? value : {};
  return Object.fromEntries(
    Object.entries(shape).map(([name, inner]) => [name, shaped(inner, Object.hasOwn(given, name) ? given[name] : undefined)]),
  );
}

// A text; anything else is told as JSON, nothing as an empty text.
export function words(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" ? value : JSON.stringify(shallow(value));
  return text.replace(HALF_CHARACTERS, "\ufffd");
}

// What is deeper is left out: telling it takes a call within a call for each level.
export function shallow(value, depth = DEPTH) {
  if (value === null || typeof value !== "object") return value;
  if (depth === 0) return "…";
  if (Array.isArray(value)) return value.map((one) => shallow(one, depth - 1));
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shallow(inner, depth - 1)]));
}

const count = (value) => (Number.isSafeInteger(value) && value >= 0 ? value : 0);
const number = (value) => (Number.isFinite(value) && value >= 0 ? value : 0);
const flag = (value) => value === true;
const percent = (value) => Math.min(count(value), 100);
const moment = (value) => (typeof value === "string" && Number.isFinite(Date.parse(value)) ? value : null);
const anything = (value) => value;
const mapping = (value) => (isObject(value) ? value : {});
const maybe = (shape) => (value) => (value === null || value === undefined ? null : shaped(shape, value));

// Texts; a lone one counts as a list of it, for it must not go unseen.
function many(value) {
  if (Array.isArray(value)) return value.map(words);
  return value === null || value === undefined ? [] : [words(value)];
}

const FAILURE = { step: maybe(words), code: words, reason: words, retryable: flag };
const RECEIPT = {
  receipt: {
    attemptNumber: count,
    totalMs: number,
    steps: [{ step: words, status: words, elapsedMs: number }],
    preparedTree: maybe({ age: number, saved: number }),
  },
};
const PULL_REQUEST = { number: count, url: words };
const COUNTED = { files: count, additions: count, deletions: count };
const PUBLICATION = {
  status: words,
  commit: words,
  url: words,
  pullRequest: maybe(PULL_REQUEST),
  note: words,
  failure: maybe(FAILURE),
};
const INPUT = { requestId: words, kind: words, body: mapping };
const STATE = {
  step: words,
  status: words,
  message: maybe(words),
  percent: maybe(percent),
  output: words,
  startedAt: moment,
  endedAt: moment,
};

export const PERMISSION = { title: words, patterns: many };
export const QUESTIONS = { questions: [{ question: words, options: [{ label: words, description: words }], multiple: flag }] };
export const USAGE = { inputTokens: number, outputTokens: number, reasoningTokens: number, cost: number };
const FRAMES = {
  __proto__: null,
  events: { events: [anything] },
  replayed: { through: count, more: flag },
  pong: { lastEventId: count },
};

// By type of event; of any other there is nothing to read.
export const DATA = {
  __proto__: null,
  "session.snapshot": {
    title: words,
    status: words,
    lastEventId: count,
    repository: { gitUrl: words, branch: words },
    counts: { setupCommands: maybe(count) },
    attempt: { number: count, revision: count, steps: [STATE] },
    failure: maybe(FAILURE),
    queue: [{ messageId: words, status: words }],
    activeTurn: maybe({ turnId: words }),
    pendingInputs: [INPUT],
    leftOut: many,
    changes: maybe(COUNTED),
    publication: maybe(PUBLICATION),
  },
  "session.preparing": { attemptNumber: count, cause: words },
  preparing: {
    attemptNumber: count,
    revision: count,
    step: words,
    status: words,
    message: maybe(words),
    percent: maybe(percent),
    elapsedMs: number,
    etaMs: maybe(number),
    output: words,
  },
  "session.renamed": { title: words },
  "session.moved": { gitUrl: words },
  "session.prepared": RECEIPT,
  "session.ready": RECEIPT,
  "session.failed": { attemptNumber: count, failure: FAILURE },
  "session.asleep": { reason: words, saved: maybe(flag), leftOut: many },
  "message.queued": { messageId: words, position: count, text: words, textBytes: maybe(count) },
  "message.delivered": { messageId: words },
  "message.failed": { messageId: words, code: words, reason: words },
  "message.held": { messageId: words },
  "message.changed": { messageId: words, text: words, textBytes: maybe(count) },
  "message.withdrawn": { messageId: words },
  "turn.started": { turnId: words, messageId: words },
  "turn.completed": { messageId: words, usage: mapping },
  "turn.failed": { turnId: words, messageId: words, code: words, reason: words, textBytes: maybe(count), textRef: maybe(words) },
  "turn.interrupted": { messageId: words },
  "turn.retrying": { reason: words },
  "input.requested": INPUT,
  "input.resolved": { requestId: words, outcome: words, answer: maybe({ reply: words, answers: [many] }) },
  "agent.event": {
    partId: words,
    messageId: words,
    kind: maybe(words),
    text: maybe(words),
    tool: words,
    title: words,
    status: words,
    input: mapping,
    output: words,
    exitCode: maybe(count),
    files: many,
    textBytes: maybe(count),
    textRef: maybe(words),
    inputBytes: maybe(count),
    inputRef: maybe(words),
    truncated: flag,
  },
  "agent.delta": { partId: words, kind: maybe(words), offset: count, text: words },
  "work.changed": COUNTED,
  "work.published": { branch: words, commit: words, url: words, pullRequest: maybe(PULL_REQUEST), note: words },
  "work.unchanged": { branch: words, commit: words, note: words },
  "work.publish_failed": { code: words, reason: words, retryable: flag },
  "agent.snapshot": { parts: [{ partId: words, kind: maybe(words), text: words }] },
};

export const dataOf = ({ type, data }) => shaped(DATA[type] ?? {}, data);

export function frameOf(frame) {
  const type = words(frame?.type);
  return { type, ...shaped(FRAMES[type] ?? {}, frame) };
}

// An event as it came, none for what can't be one.
export function eventsOf(raw) {
  const { eventId = null, type, timestamp, data } = mapping(raw);
  if (!isObject(raw) || (eventId !== null && !count(eventId))) return [];
  return [{ eventId, type: words(type), timestamp: moment(timestamp), data: mapping(data) }];
}
