// Runs the page's own modules on cases from standard input: {web, reducer, …}.
import { readFileSync } from "node:fs";

const cases = JSON.parse(readFileSync(0, "utf8"));
// As data: URLs, because the page's folder has no package.json to call them modules for node.
const load = (name) =>
  import(`data:text/javascript,${encodeURIComponent(readFileSync(`${cases.web}/${name}`, "utf8"))}`);
const { Reducer } = await load("reducer.js");
const { Part } = await load("parts.js");
const { parse } = await load("markdown.js");
const { Inputs, permission, questions } = await load("inputs.js");
const { Api } = await load("api.js");

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

process.stdout.write(
  JSON.stringify({
    reducer: cases.reducer.map(reduce),
    parts: cases.parts.map(assemble),
    markdown: cases.markdown.map(({ text }) => parse(text)),
    inputs: cases.inputs.map(asked),
    keys: await keys(cases.keys),
  }),
);
