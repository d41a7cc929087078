// The form that begins a session.

import { repositoryOf } from "./address.js";
import { newSession } from "./bodies.js";
import { drawChoices, keepDefaults } from "./defaults.js";
import { composes, element, setText } from "./dom.js";
import { tellFields } from "./fields.js";
import { newest } from "./listing.js";
import { inTab, keyOf, onDevice, repositories, sessions } from "./memory.js";
import { $, notice, sentence, show, state, submitted } from "./page.js";
import { tellRefused } from "./refusals.js";
import { Rows } from "./rows.js";
import { seal, tooShort } from "./sealing.js";
import { warned } from "./warnings.js";

const TEXTS = ["prompt", "branch", "agent", "mode", "model", "setup", "inputs", "tree", "depth", "system"];
const REMEMBERED = ["branch", "agent", "mode", "model", "setup", "inputs", "system"];
// What is out of sight while the form is folded, by name, and how it is called there.
const FOLDED = {
  branch: "branch", depth: "history", agent: "agent", mode: "mode", model: "model", setup: "setup commands", inputs: "their files",
  system: "system prompt", mcp: "MCP servers",
};
const ACTIVE = ["preparing", "prepared", "ready", "running", "stopping"];

const DRAFT = "draft new";

const form = $("create");
const env = new Rows($("env"), $("more-env"));
const secrets = new Rows($("secrets"), $("more-secrets"), { secret: true });

const unanswered = new Map(); // the last body that was sent and may have made a session, with its key
let begun = null; // the session created last, until it is opened
let warning = { id: "", text: "" };
let lastSealed = null; // {plain, sealed}
let filled = {}; // what was filled in by itself, and goes with its repository
let of = null; // the repository it goes with
let emptied = 0; // times
let understood = ""; // what was left in the repository's field

// What is known of a session that was just created, once: its stream's ticket is for one connection.
export function begunOf(id) {
  const found = begun?.id === id ? begun : null;
  begun = null;
  return found;
}

export const warningOf = (id) => (warning.id === id ? warning.text : "");

export function showCreate() {
  show("create");
  keepDefaults(form).then(() => form.elements.repo.value && recall());
  const { repo, prompt } = form.elements;
  const [named, written] = JSON.parse(inTab.getItem(DRAFT) ?? "[]");
  prompt.value ||= written ?? "";
  if (!repo.value && (named || onDevice.getItem("repo"))) {
    repo.value = named || onDevice.getItem("repo");
    understand();
  }
  (repo.value ? prompt : repo).focus();
}

// Fills the form in with what another session was given.
export function prefill({ repo, prompt, ...known }) {
  clear(repo);
  form.elements.prompt.value = prompt;
  for (const name of REMEMBERED) if (known[name]) form.elements[name].value = known[name];
  tellFolded();
}

// What was used last comes back under a fold: nobody shall send it unawares.
function tellFolded() {
  const given = Object.entries(FOLDED).filter(([name]) => form.elements[name].value).map(([, called]) => called);
  for (const [id, called] of [["env", "variables"], ["secrets", "secrets"]]) if ($(id).children.length) given.push(called);
  setText($("folded"), given.length ? `More, with ${given.join(", ")}` : "More");
}
form.onclick = tellFolded;

// Makes of what is in the repository's field what can be cloned, with what was used for it last time.
function understand() {
  const { repo, branch } = form.elements;
  const found = repositoryOf(repo.value);
  tellFields(form, found.wrong ? { repo: found.wrong } : {}, { focus: false });
  setText($("understood"), found.note ?? "");
  if (found.wrong) return false;
  const another = repo.value !== understood;
  if (repo.value !== found.repo) repo.value = found.repo;
  understood = found.repo;
  if (of !== keyOf(found.repo)) recall();
  // The branch of another page of it may be out of sight, and is not asked for any more.
  else if (another && branch.value === filled.branch) branch.value = filled.branch = knownOf(found.repo).branch ?? "";
  of = keyOf(found.repo);
  if (found.branch) branch.value = filled.branch = found.branch;
  tellFolded();
  return true;
}

const knownOf = (repo) => repositories().get(keyOf(repo)) ?? {};

// Fills in what was used last, but for what a person filled in.
function recall() {
  const known = knownOf(form.elements.repo.value);
  for (const name of REMEMBERED) {
    const field = form.elements[name];
    if (field.value && field.value !== filled[name]) continue;
    field.value = known[name] ?? "";
    filled[name] = field.value;
    if (name === "agent") drawChoices(form);
  }
  env.suggest(known.env ?? []);
  secrets.suggest(known.secrets ?? []);
  tellFolded();
}
form.elements.repo.onchange = understand;

// {body, values}, or {wrong} by field.
async function filledIn() {
  const { elements } = form;
  const texts = Object.fromEntries(TEXTS.map((name) => [name, elements[name].value]));
  const checks = { submodules: elements.submodules.checked, hold: elements.hold.checked };
  const [variables, hidden] = [env.read(), secrets.read()];
  const wrong = {};
  if (variables.wrong) wrong.env = variables.wrong;
  const short = Object.entries(hidden.pairs ?? {}).find(([, value]) => tooShort(value));
  if (hidden.wrong || short) wrong.secrets = hidden.wrong ?? `${short[0]} has fewer than 8 bytes: it could not be kept from being shown.`;
  const servers = mcpOf(elements.mcp.value);
  if (servers.wrong) wrong.mcp = servers.wrong;
  if (Object.keys(wrong).length) return { wrong };
  const names = Object.keys(hidden.pairs);
  const encryptedSecrets = names.length ? await sealedOnce(hidden.pairs) : null;
  const given = { repo: elements.repo.value, ...texts, ...checks, env: variables.pairs, mcp: servers.servers, encryptedSecrets };
  const remembered = Object.fromEntries(REMEMBERED.map((name) => [name, texts[name]]));
  return { body: newSession(given), remembered: { ...remembered, env: Object.keys(variables.pairs), secrets: names } };
}

// Sealing is by chance: the same once more would be another request, and a second session where an answer was lost.
async function sealedOnce(pairs) {
  const { api } = state;
  const plain = JSON.stringify([api.url, api.token, pairs]);
  if (lastSealed?.plain !== plain) {
    lastSealed = { plain, sealed: await seal(pairs, await api.call("GET", "/encryption-key"), api.token) };
  }
  return lastSealed.sealed;
}

// The servers alone, or as other programs' files have them.
function mcpOf(text) {
  if (!text.trim()) return { servers: {} };
  try {
    const given = JSON.parse(text);
    const servers = given?.mcpServers ?? given;
    const good = (value) => value && typeof value === "object" && !Array.isArray(value);
    return good(servers) && Object.values(servers).every(good) ? { servers } : { wrong: 'It should be an object of servers: {"name": {"command": "…"}}.' };
  } catch (error) {
    return { wrong: `It is no JSON: ${error.message}` };
  }
}

// As long a text as any message, it outlives a reload, too.
form.oninput = () => {
  tellFolded();
  const { repo, prompt } = form.elements;
  inTab.setItem(DRAFT, JSON.stringify([repo.value, prompt.value]));
};

// Where Enter alone begins another line.
form.onkeydown = (event) => {
  const sends = event.key === "Enter" && (event.ctrlKey || event.metaKey) && !composes(event);
  if (!sends || !event.target.matches("textarea")) return;
  event.preventDefault();
  form.requestSubmit();
};

form.onsubmit = (event) =>
  submitted(event, async () => {
    if (!understand()) return form.elements.repo.focus();
    const turn = emptied;
    const { body, remembered, wrong } = await filledIn();
    // Who asked for it is gone, and another one would be charged with it.
    if (turn !== emptied) return;
    if (wrong) return tellFields(form, wrong);
    let created;
    try {
      created = await state.api.post("/sessions", body, unanswered);
    } catch (error) {
      return refuse(error);
    }
    if (turn !== emptied) return;
    const repo = form.elements.repo.value;
    repositories().set(keyOf(repo), remembered);
    sessions().set(created.sessionId, { branch: remembered.branch, setup: remembered.setup });
    const title = body.prompt.trim().split("\n")[0];
    warning = { id: created.sessionId, text: warned(created) };
    begun = { id: created.sessionId, stream: created.stream, attemptNumber: created.attemptNumber ?? 1, title, prompt: body.prompt, gitUrl: repo };
    const here = !form.hidden;
    clear(repo);
    // Who went elsewhere meanwhile reads something else now.
    if (here) location.hash = created.sessionId;
    else notice("The session has begun: ", linkTo({ sessionId: created.sessionId, title }));
  });

// Another prompt on the same repository is likely, and as it was used last.
function clear(repo) {
  form.reset();
  inTab.removeItem(DRAFT);
  env.clear();
  secrets.clear();
  lastSealed = null;
  [filled, of] = [{}, null];
  form.elements.repo.value = repo;
  understand();
  tellFolded();
}

// Nothing of what was filled in and begun is left.
export function emptyForm() {
  clear("");
  unanswered.clear();
  emptied += 1;
  begun = null;
  warning = { id: "", text: "" };
}

const linkTo = ({ sessionId, title }) => Object.assign(element("a", "", title), { href: `#${sessionId}` });

async function refuse(error) {
  if (error.code === "QuotaExceeded") {
    const { items } = await newest(state.api, 100);
    const active = items.filter(({ status }) => ACTIVE.includes(status));
    const links = active.flatMap((session, at) => [at ? ", " : " ", linkTo(session)]);
    notice(`${sentence(error.message)} These are active; delete one, or let it fall asleep:`, ...links);
    return;
  }
  tellRefused(form, error);
}
