// Drives the whole page on a document of its own: {web, ids, steps} from standard input, see web_page.py.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { web, ids, steps } = JSON.parse(readFileSync(0, "utf8"));

// As much of an element as the page asks for.
class Element {
  tag;
  className = "";
  dataset = {};
  children = [];
  hidden = false;
  value = "";
  #attributes = {};
  #fields = {};
  #parent = null;

  constructor(tag) {
    this.tag = tag;
  }

  // A form's fields, made as they are asked for.
  get elements() {
    return new Proxy(this.#fields, {
      get: (fields, name) => {
        if (!fields[name]) this.append((fields[name] = new Element("input")));
        return fields[name];
      },
    });
  }

  reset() {
    for (const field of Object.values(this.#fields)) field.value = "";
  }

  get parentElement() {
    return this.#parent;
  }

  closest(tag) {
    return this.tag === tag ? this : (this.#parent?.closest(tag) ?? null);
  }

  after(node) {
    this.#parent.insertBefore(node, this.#parent.children[this.#parent.children.indexOf(this) + 1] ?? null);
  }

  insertBefore(node, there) {
    node.remove();
    node.#parent = this;
    this.children.splice(there ? this.children.indexOf(there) : this.children.length, 0, node);
  }

  append(...children) {
    for (const child of children) {
      if (typeof child === "string") continue;
      child.remove();
      child.#parent = this;
    }
    this.children.push(...children);
  }

  replaceChildren(...children) {
    this.children = [];
    this.append(...children);
  }

  remove() {
    if (this.#parent) this.#parent.children = this.#parent.children.filter((child) => child !== this);
    this.#parent = null;
  }

  setAttribute(name, value) {
    this.#attributes[name] = value;
  }

  getAttribute(name) {
    return this.#attributes[name] ?? null;
  }

  removeAttribute(name) {
    delete this.#attributes[name];
  }

  focus() {
    document.activeElement = this;
  }

  select() {}

  checkVisibility() {
    return !this.hidden;
  }

  get parentNode() {
    return this.#parent;
  }

  get firstChild() {
    return this.children[0];
  }

  get lastChild() {
    return this.children.at(-1);
  }

  get textContent() {
    return this.children.map((child) => child.textContent ?? child).join("");
  }

  set textContent(text) {
    this.children = [text];
  }

  querySelectorAll(selector) {
    const below = this.children.filter((child) => typeof child !== "string");
    return below.flatMap((child) => [...(child.#is(selector) ? [child] : []), ...child.querySelectorAll(selector)]);
  }

  // Knows a tag, a class, a data attribute with its value, and those inside each other or among its children.
  querySelector(selector) {
    const below = this.children.filter((child) => typeof child !== "string");
    const among = /^:scope > (.*)$/.exec(selector)?.[1];
    if (among) return below.find((child) => child.#is(among)) ?? null;
    const [first, ...rest] = selector.split(" ");
    for (const child of below) {
      const found = child.#is(first) ? child : child.querySelector(first);
      if (found) return rest.length ? found.querySelector(rest.join(" ")) : found;
    }
    return null;
  }

  #is(selector) {
    if (selector.includes(",")) return selector.split(/, ?/).some((one) => this.#is(one));
    if (selector === "[aria-invalid]") return this.#attributes["aria-invalid"] !== undefined;
    const [, tag, kind, name, value] = /^(\w+)?(?:\.(\w+))?(?:\[data-(\w+)="(.*)"\])?$/.exec(selector);
    if (name) return this.dataset[name] === value;
    return (!tag || tag === this.tag) && (!kind || this.className.split(" ").includes(kind));
  }
}

const byId = Object.fromEntries(ids.map((id) => [id, new Element(id)]));
for (const id of ["connect", "create", "message", "retry", "rename"]) {
  const button = new Element("button");
  button.className = "primary";
  byId[id].append(button);
}

byId.left.append(new Element("ul"));

const stored = new Map([["connection", JSON.stringify({ api: "http://api", token: "t" })]]);
const storage = {
  getItem: (name) => stored.get(name) ?? null,
  setItem: (name, value) => stored.set(name, value),
  removeItem: (name) => stored.delete(name),
  key: (at) => [...stored.keys()][at],
  get length() {
    return stored.size;
  },
};
const heard = {}; // what the page listens for on its window
let hash = "";
const answers = new Map(); // what is answered, by method and path
const requests = [];
const confirmed = []; // what a person was asked, and agrees to
let agrees = true;
const sockets = [];

class Socket {
  static OPEN = 1;
  readyState = 1;

  constructor() {
    sockets.push(this);
    setTimeout(() => this.onopen?.());
  }

  send() {}
  close() {}
}

Object.assign(globalThis, {
  window: globalThis,
  document: { createElement: (tag) => new Element(tag), getElementById: (id) => byId[id], hidden: false, title: "", activeElement: null, head: new Element("head"), forms: ["find", "connect", "create", "rename", "retry", "publish", "message"].map((id) => byId[id]) },
  localStorage: storage,
  sessionStorage: storage,
  addEventListener: (type, action) => (heard[type] = action),
  history: { replaceState() {} },
  location: {
    pathname: "/",
    search: "",
    get hash() {
      return hash;
    },
    set hash(part) {
      hash = part && `#${part}`;
      setTimeout(() => globalThis.onhashchange());
    },
  },
  confirm(question) {
    confirmed.push(question);
    return agrees;
  },
  CSS: { escape: (text) => text },
  WebSocket: Socket,
  requestAnimationFrame: (action) => setTimeout(action),
  setInterval() {},
  async fetch(url, { method = "GET", body } = {}) {
    if (url.startsWith("./")) return new Response("");
    const path = url.replace("http://api", "").replace(/\?.*/, "");
    requests.push([method, path, body ? JSON.parse(body) : null]);
    const gone = [404, { detail: "No such session", retryable: false, code: "SessionNotFound" }];
    const [status, answer] = answers.get(`${method} ${path}`) ?? gone;
    return new Response(typeof answer === "string" ? answer : JSON.stringify(answer), { status });
  },
});

const DOES = {
  answer: (request, status, body) => answers.set(request, [status, body]),
  go: (part) => (location.hash = part),
  fill: (form, fields) => Object.entries(fields).forEach(([name, value]) => (byId[form].elements[name].value = value)),
  change: (form, name, value) => {
    byId[form].elements[name].value = value;
    byId[form].elements[name].onchange?.();
  },
  submit: (form) => byId[form].onsubmit({ preventDefault() {}, target: byId[form] }),
  // As a person does who goes on reading while the answer is on its way.
  "leave while submitting": (form, part) => {
    DOES.submit(form);
    hash = `#${part}`;
    globalThis.onhashchange();
  },
  "disconnect while submitting": (form) => {
    DOES.submit(form);
    byId.disconnect.onclick();
  },
  "mark rows": async () => {
    byId.more.onclick();
    await settled();
    for (const row of byId.sessions.children) row.marked = true;
  },
  more: () => byId.more.onclick(),
  press: (id) => byId[id].onclick(),
  store: (name, value) => stored.set(name, value),
  // As another tab of the browser does.
  "connect elsewhere": (pair) => {
    const oldValue = stored.get("connection");
    stored.set("connection", JSON.stringify(pair));
    heard.storage({ key: "connection", oldValue, newValue: stored.get("connection") });
  },
  unfold: (id) => (byId[id].open = true),
  refuse: () => (agrees = false),
  event: (event) => sockets.at(-1).onmessage({ data: JSON.stringify({ type: "events", events: [event] }) }),
};

// What is queued runs in turns; an answer takes a few.
const settled = async () => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((done) => setTimeout(done));
};

answers.set("GET /sessions", [200, { items: [], nextCursor: null }]);
await import(pathToFileURL(`${web}/app.js`));
// It comes by itself, and takes more than some turns.
await import(pathToFileURL(`${web}/session.js`));
await settled();
for (const [what, ...given] of steps) {
  await DOES[what](...given);
  await settled();
}
const shown = ids.filter((id) => !byId[id].hidden);
const create = byId.create.elements;
process.stdout.write(
  JSON.stringify({
    shown,
    requests,
    notice: byId.notice.textContent,
    reason: [byId.reason.textContent, byId.reason.querySelectorAll("code").map((code) => code.textContent)],
    sealed: byId.sealed.textContent,
    list: byId.sessions.children.map((link) => [link.querySelector(".dot").dataset.status, link.lastChild.textContent]),
    told: byId.told.hidden ? "" : byId.told.textContent,
    wrong: Object.fromEntries(ids.flatMap((id) => byId[id].querySelectorAll(".wrong")).map((said) => [said.id.split("-").at(-1), said.textContent])),
    hash,
    known: byId.session.dataset.known,
    marked: byId.sessions.children.map(({ marked }) => marked ?? false),
    connect: ["api", "token"].map((name) => byId.connect.elements[name].value),
    title: document.title,
    where: byId.where.textContent,
    status: byId.status.textContent,
    names: byId.sessions.children.map((link) => link.querySelector(".name").textContent),
    logs: byId.steps.querySelectorAll(".log").map((log) => log.textContent),
    stored: Object.fromEntries(stored),
    hint: byId.text.placeholder,
    confirmed,
    summary: byId.summary.textContent,
    left: [byId.left.open, byId.left.querySelector("ul").children.map((item) => item.textContent)],
    links: (byId.files.querySelector(".choices")?.children ?? []).map((link) => [link.textContent, link.href ?? null]),
    work: {
      summary: byId.worked.textContent,
      published: byId.published.textContent,
      page: byId.page.children.map((link) => [link.textContent, link.href ?? null]),
      files: byId.changed.children.map((item) => item.textContent),
      diff: byId.diff.textContent,
    },
    create: ["repo", "prompt", "branch", "setup"].map((name) => create[name].value),
  }),
  () => process.exit(0),
);
