// What the deployment has to choose from, put into the form. It works without.

import { element } from "./dom.js";
import { $, state } from "./page.js";

let of = null; // whose defaults these are
let known = { agent: null, mode: null, model: null, agents: [] };

export async function keepDefaults(form) {
  if (of === state.api) return;
  of = state.api;
  const asked = of;
  try {
    const found = await asked.call("GET", "/defaults");
    if (of !== asked) return;
    known = { ...known, ...found };
  } catch {
    // Only suggestions are missing, and an older API has none: a refused token is told by what matters more.
    if (of === asked) of = null;
    return;
  }
  choices(form.elements.agent, known.agent, known.agents.map(({ name }) => name));
  drawChoices(form);
  form.elements.agent.onchange = () => drawChoices(form);
}

// What there is to choose from depends on the agent.
export function drawChoices(form) {
  const { agent, mode, model } = form.elements;
  const own = !agent.value || agent.value === known.agent;
  const { modes = [], models = [] } = known.agents.find(({ name }) => name === (agent.value || known.agent)) ?? {};
  choices(mode, own ? known.mode : null, modes);
  model.placeholder = (own && known.model) || "the default";
  $("models").replaceChildren(...models.map((name) => Object.assign(element("option"), { value: name })));
}

function choices(select, preset, names) {
  const had = select.value;
  const option = (value, text) => Object.assign(element("option", "", text), { value });
  select.replaceChildren(option("", preset ? `${preset} (default)` : "the default"), ...names.map((name) => option(name, name)));
  select.value = names.includes(had) ? had : "";
}
