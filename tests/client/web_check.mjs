// Runs the page's own modules on cases from standard input: {web, checks: {reducer: […], …}}.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { web, checks } = JSON.parse(readFileSync(0, "utf8"));

// As much of a document as drawing takes.
class Element {
  className = "";
  dataset = {};
  children = [];

  constructor(tag) {
    this.tag = tag;
  }

  append(...children) {
    this.children.push(...children);
  }

  replaceChildren(...children) {
    this.children = children;
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
}
globalThis.document = { createElement: (tag) => new Element(tag) };

const load = (name) => import(pathToFileURL(`${web}/${name}`));
const { Reducer } = await load("reducer.js");
const { Part } = await load("parts.js");
const { parse } = await load("markdown.js");
const { Inputs, permission, questions } = await load("inputs.js");
const { Api } = await load("api.js");
const { dataOf } = await load("shapes.js");
const { plain, visible } = await load("text.js");
const { View } = await load("view.js");
const { drawPart, newItem } = await load("conversation.js");
const { newCard } = await load("asked.js");

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

// What a person reads after some frames: the conversation, and what is asked.
function read(frames) {
  const [reducer, view] = [new Reducer(), new View()];
  const nodes = new Map();
  for (const frame of frames) {
    for (const event of reducer.feed(frame).events) {
      view.apply(event);
      for (const item of view.items) {
        if (!nodes.has(item.key)) nodes.set(item.key, newItem(item));
        if (item.part?.changed) drawPart(nodes.get(item.key), item.part);
      }
    }
  }
  const cards = [...view.inputs.open.values()].map((one) => newCard(one, () => {}));
  const texts = (all) => all.map((node) => (node.hidden ? "" : node.textContent));
  return { items: texts([...nodes.values()]), cards: texts(cards), steps: [...view.steps], receipt: view.receipt };
}

// How many elements of arrays are moved or looked at by the calls that do so to all of them.
function elementsTouched(action) {
  let touched = 0;
  const stock = {};
  for (const name of ["shift", "unshift", "splice", "slice", "findIndex", "indexOf", "concat"]) {
    stock[name] = Array.prototype[name];
    Array.prototype[name] = function counted(...given) {
      const [before, result] = [this.length, stock[name].apply(this, given)];
      touched += name === "slice" ? result.length : before;
      return result;
    };
  }
  action();
  Object.assign(Array.prototype, stock);
  return touched;
}

// What is drawn of a part that grows by some texts, and what when it ends.
function grown(texts) {
  const [part, node] = [new Part(), new Element("div")];
  const drawn = [];
  for (const text of texts) {
    const before = node.children;
    part.grow(part.text.length, text);
    drawPart(node, part);
    drawn.push([node.textContent.length, node.children !== before]);
  }
  part.settle(dataOf({ type: "agent.event", data: { text: part.text } }));
  drawPart(node, part);
  return [...drawn, [node.textContent.length, true]];
}

// Which sends [text, the answer's status] had the Idempotency-Key of an earlier one, by its place.
async function keys(sends) {
  const used = [];
  for (const [prompt, status] of sends) {
    globalThis.fetch = async (_, { headers }) => {
      used.push(headers["idempotency-key"]);
      return new Response("{}", { status });
    };
    await new Api("http://api", "token").post("/sessions/s/messages", { prompt }).catch(() => {});
  }
  return used.map((key) => used.indexOf(key));
}

const CHECKS = {
  reducer: (all) => all.map(reduce),
  parts: (all) => all.map(assemble),
  markdown: (all) => all.map(({ text }) => parse(text)),
  touched: (all) => all.map((text) => elementsTouched(() => parse(text))),
  grown: (all) => all.map(grown),
  inputs: (all) => all.map(asked),
  shapes: (all) => all.map((event) => dataOf(event)),
  texts: (all) => all.map(({ text }) => [plain(text), visible(text)]),
  read: (all) => all.map(read),
  keys,
};
const answers = {};
for (const [name, given] of Object.entries(checks)) answers[name] = await CHECKS[name](given);
process.stdout.write(JSON.stringify(answers));
