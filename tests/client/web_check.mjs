// Runs the page's own modules on cases from standard input: {web, checks: {reducer: […], …}}.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { web, checks } = JSON.parse(readFileSync(0, "utf8"));

// As much of a document as drawing takes.
class Element {
  className = "";
  dataset = {};
  children = [];
  parentNode = null;

  constructor(tag) {
    this.tag = tag;
  }

  setAttribute() {}

  append(...children) {
    for (const child of children) {
      if (typeof child === "string") continue;
      child.remove();
      child.parentNode = this;
    }
    this.children.push(...children);
  }

  appendChild(child) {
    this.append(child);
    return child;
  }

  insertBefore(child, next) {
    child.remove();
    child.parentNode = this;
    const at = this.children.indexOf(next);
    this.children.splice(at < 0 ? this.children.length : at, 0, child);
  }

  replaceChildren(...children) {
    this.children = [];
    this.append(...children);
  }

  get childNodes() {
    return this.children;
  }

  get lastChild() {
    return this.children.at(-1);
  }

  // Like no other, so that what is drawn again takes its place.
  get nodeName() {
    return this;
  }

  replaceWith(node) {
    const { children } = this.parentNode;
    children[children.indexOf(this)] = node;
    node.parentNode = this.parentNode;
  }

  remove() {
    if (this.parentNode) this.parentNode.children = this.parentNode.children.filter((child) => child !== this);
    this.parentNode = null;
  }

  querySelector(tag) {
    const below = this.children.filter((child) => typeof child !== "string");
    return below.find((child) => child.tag === tag) ?? below.map((child) => child.querySelector(tag)).find(Boolean);
  }

  get textContent() {
    return this.children.map((child) => child.textContent ?? child).join("");
  }

  set textContent(text) {
    this.children = [text];
  }

  // What of it is seen.
  get seen() {
    if (this.hidden || this.className === "hidden") return "";
    return this.children.map((child) => child.seen ?? child).join("");
  }
}
globalThis.document = {
  createElement: (tag) => new Element(tag),
  createTextNode: (text) => Object.assign(new Element("#text"), { textContent: text }),
};

const load = (name) => import(pathToFileURL(`${web}/${name}`));
const { Reducer } = await load("reducer.js");
const { Part } = await load("parts.js");
const { answered, Inputs, permission, questions } = await load("inputs.js");
const { Api } = await load("api.js");
const { follow } = await load("follow.js");
const { dataOf } = await load("shapes.js");
const { counted, plain, visible } = await load("text.js");
const { wrongFields } = await load("refusals.js");
const { View } = await load("view.js");
const { ago, Rest } = await load("rest.js");
const { Conversation } = await load("conversation.js");
const { deed, given, state } = await load("tool.js");
const { coloured } = await load("ansi.js");
const { newCard } = await load("asked.js");
const { apiOf, connect, connection, takeLink } = await load("connection.js");
const { newAttempt, newSession } = await load("bodies.js");
const { merged, newest } = await load("listing.js");
const { repositoryOf } = await load("address.js");
const { seal } = await load("sealing.js");
const { expired, subjectOf } = await load("token.js");
const { shortName, told, when } = await load("status.js");

function reduce({ after, steps }) {
  const reducer = new Reducer(after);
  return steps.map((step) => {
    if (!step.frame) return reducer.subscribe().after;
    const { events, again } = reducer.feed(step.frame);
    return [events.map((e) => e.eventId ?? e.type), again, reducer.after, reducer.deleted];
  });
}

function assemble({ deltas, final, late }) {
  const part = new Part();
  for (const [offset, text] of deltas) part.grow(offset, text);
  if (final !== undefined) part.settle({ text: final });
  if (late) part.grow(...late);
  return part.text;
}

function asked({ events }) {
  const inputs = new Inputs();
  events.forEach((event) => inputs.apply(event));
  return [...inputs.open.values()].map((one) => [
    one.requestId,
    one.kind === "permission" ? permission(one) : questions(one).map(({ text, labels }) => [text, labels]),
  ]);
}

function rested({ events }) {
  const rest = new Rest();
  for (const event of events) rest.apply(event, dataOf(event));
  return [rest.why, rest.saved, rest.leftOut];
}

// What a person reads after some frames: the conversation, what waits below it, and what is asked.
function read(frames) {
  const [reducer, view] = [new Reducer(), new View()];
  const log = new Element("div");
  const conversation = new Conversation(log, new Element("button"), {});
  for (const frame of frames) {
    for (const event of reducer.feed(frame).events) {
      view.apply(event);
      conversation.draw(view);
    }
  }
  const cards = [...view.inputs.open.values()].map((one) => newCard(one, () => {}));
  const [items, activity, waiting] = log.children;
  const texts = (nodes) => nodes.map((node) => node.seen);
  const { held, receipt, waitsForYou } = view;
  return {
    items: texts(items.children),
    activity: activity.seen,
    waiting: waiting.children.map((node) => texts([node.children[1], ...node.children[3].children])),
    cards: cards.map((card) => card.textContent),
    steps: [...view.steps],
    receipt,
    held,
    waitsForYou,
  };
}

// What a tool says of itself, with the lines that it was given.
const did = ({ data, cut = "", beganAt, endedAt, now }) => {
  const whole = dataOf({ type: "agent.event", data });
  return [deed(whole), state({ data: whole, cut, beganAt, endedAt }, now), given(whole).map(({ text }) => text)];
};

// What is told of a tool's input of so many levels, come as its whole input does.
function deep(levels) {
  const part = new Part();
  part.settle(dataOf({ type: "agent.event", data: { kind: "tool", tool: "t", inputRef: "r", inputBytes: 1 } }));
  part.extendInput(`{"a":${"[".repeat(levels)}${"]".repeat(levels)}}`, { nextCursor: null, truncated: false });
  return given(part.data)[0].text;
}

// Whether what was written waits for a person, after each of some events; "release" is theirs.
function held(events) {
  const view = new View();
  return events.map((event) => {
    if (event === "release") view.queue.release();
    else view.apply(event);
    return view.held;
  });
}

// What the list has of so many sessions, in pages that are at most as long as asked for, and the calls it takes.
async function listing({ sessions, wanted }) {
  const calls = [];
  const call = async (method, path) => {
    calls.push(`${method} ${path}`);
    const query = new URL(path, "http://api").searchParams;
    const [at, limit] = [Number(query.get("cursor")), Number(query.get("limit"))];
    const end = at + Math.min(limit, 30);
    const items = Array.from({ length: Math.min(end, sessions) - at }, (_, n) => at + n);
    return { items, nextCursor: end < sessions ? String(end) : null };
  };
  const { items, more } = await newest({ call }, wanted);
  return { items, more, calls };
}

// Which sends [text, the answer's status] had the Idempotency-Key of an earlier one, by its place.
async function keys(sends) {
  const used = [];
  const sent = new Map();
  for (const [prompt, status] of sends) {
    globalThis.fetch = async (_, { headers }) => {
      used.push(headers["idempotency-key"]);
      return new Response("{}", { status });
    };
    await new Api("http://api", "token").post("/sessions/s/messages", { prompt }, sent).catch(() => {});
  }
  return used.map((key) => used.indexOf(key));
}

// How often a call is sent that is answered by each of some [status, body]s, and what is said of it.
async function repeats(answers) {
  globalThis.setTimeout = (action) => queueMicrotask(action);
  const told = [];
  for (const [status, body] of answers) {
    let sent = 0;
    globalThis.fetch = async () => {
      sent += 1;
      return new Response(JSON.stringify(body), { status, headers: { "retry-after": "10" } });
    };
    const said = await new Api("http://api", "token").call("POST", "/sessions", {}).catch((error) => error.message);
    told.push([sent, said]);
  }
  return told;
}

// What is left of stored pairs after some links, whether each link must go from the address, and what was asked of a
// person who agrees unless `declined`.
function links({ hashes, mine = ["https://mine", "my token"], declined = false }) {
  const stored = new Map([["repo", "o/n"]]);
  const storage = {
    getItem: (name) => stored.get(name) ?? null,
    setItem: (name, value) => stored.set(name, value),
    removeItem: (name) => stored.delete(name),
  };
  connect(storage, ...mine);
  const asked = [];
  const agrees = (question) => {
    asked.push(question);
    return !declined;
  };
  const pair = () => {
    const { api, token } = connection(storage);
    return { api, token };
  };
  return { taken: hashes.map((hash) => [takeLink(hash, storage, agrees), pair(), stored.get("repo") ?? null]), asked };
}

// How a session is followed where each call with a token gets no answer that a page may read:
// the error's code if it ends, how often it was said that the connection is lost, and the requests.
async function unreadable({ healthy, listed = false, giveUpAfter }) {
  const requests = [];
  const stop = new AbortController();
  globalThis.setTimeout = (action) => queueMicrotask(action);
  globalThis.fetch = async (url, { headers, redirect }) => {
    requests.push([url, headers?.authorization ?? null, redirect]);
    if (healthy && url.endsWith("/health")) return new Response("{}");
    if (listed && url.endsWith("/sessions?limit=1")) return new Response("{}");
    throw new TypeError("Failed to fetch");
  };
  let lost = 0;
  const onLost = () => {
    lost += 1;
    if (lost === giveUpAfter) stop.abort();
  };
  const options = { signal: stop.signal, onEvent() {}, onLost };
  const code = await follow(new Api("https://api", "token"), "ses_1", options).then(() => null, (error) => error.code);
  return { code, lost, requests };
}

// When and why a connection that is accepted and then silent is given up, and what was sent on it by then.
async function silent() {
  const [sent, timers, stop] = [[], new Map(), new AbortController()];
  let [now, made, lost] = [0, 0, null];
  globalThis.setTimeout = (action, ms) => {
    timers.set((made += 1), [now + ms, action]);
    return made;
  };
  globalThis.clearTimeout = (timer) => timers.delete(timer);
  globalThis.WebSocket = class {
    static OPEN = 1;
    readyState = 1;

    constructor() {
      queueMicrotask(() => this.onopen());
    }

    send(frame) {
      sent.push(JSON.parse(frame).action);
    }

    close() {}
  };
  const onLost = (reason) => {
    lost = [now / 1000, reason];
    stop.abort();
  };
  follow({ call: async () => ({ url: "ws://api", ticket: "t" }) }, "ses_1", { signal: stop.signal, onEvent() {}, onLost });
  while (!lost) {
    await new Promise(setImmediate);
    const [next] = [...timers].sort(([, [one]], [, [other]]) => one - other);
    if (!next || lost) break;
    const [timer, [at, action]] = next;
    timers.delete(timer);
    now = at;
    action();
    await new Promise(setImmediate);
  }
  return { lost, sent };
}

const CHECKS = {
  reducer: (all) => all.map(reduce),
  parts: (all) => all.map(assemble),
  tools: (all) => all.map(did),
  deep: (all) => all.map(deep),
  outputs: (all) => all.map((text) => coloured(text).join("")),
  inputs: (all) => all.map(asked),
  answers: (all) => all.map(({ data }) => answered(dataOf({ type: "input.resolved", data }))),
  rests: (all) => all.map(rested),
  agos: (all) => all.map(([seconds]) => ago(seconds)),
  shapes: (all) => all.map((event) => dataOf(event)),
  texts: (all) => all.map(({ text }) => [plain(text), visible(text)]),
  read: (all) => all.map(read),
  held: (all) => all.map(held),
  listing: (all) => Promise.all(all.map(listing)),
  merges: (all) => all.map(([known, first]) => merged(known, first)),
  addresses: (all) => all.map(repositoryOf),
  seals: (all) => Promise.all(all.map((given) => seal(...given).catch(({ message }) => message))),
  tokens: (all) => all.map((token) => [subjectOf(token), expired(token)]),
  moments: (all) => all.map(([moment, now]) => when(moment, new Date(now))),
  told: (all) => all.map(told),
  sessions: (all) => all.map(newSession),
  attempts: (all) => all.map(([number, setup]) => newAttempt(number, setup)),
  links: (all) => all.map(links),
  apis: (all) => all.map(apiOf),
  counts: (all) => all.map(([many, name]) => counted(many, name)),
  names: (all) => all.map(shortName),
  refusals: (all) => all.map(({ code, detail, errors }) => wrongFields({ code, message: detail, errors })),
  keys,
  repeats,
  unreadable,
  silent,
};
const answers = {};
for (const [name, given] of Object.entries(checks)) answers[name] = await CHECKS[name](given);
process.stdout.write(JSON.stringify(answers));
