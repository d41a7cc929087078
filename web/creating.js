// The form that begins a session.

import { newSession } from "./bodies.js";
import { $, show, state, submitted } from "./page.js";
import { warned } from "./warnings.js";

let warning = { id: "", text: "" }; // of the session that was created last, for when it is opened

export const warningOf = (id) => (warning.id === id ? warning.text : "");

export function showCreate() {
  document.title = "Headstart";
  show("create");
  const { repo, prompt } = $("create").elements;
  repo.value ||= sessionStorage.getItem("repo") ?? "";
  (repo.value ? prompt : repo).focus();
}

$("create").onsubmit = (event) =>
  submitted(event, async () => {
    const { repo, submodules, hold } = event.target.elements;
    const names = ["prompt", "branch", "setup", "inputs", "tree", "depth"];
    const texts = Object.fromEntries(names.map((name) => [name, event.target.elements[name].value]));
    const checks = { submodules: submodules.checked, hold: hold.checked };
    const created = await state.api.post("/sessions", newSession({ repo: repo.value, ...texts, ...checks }));
    // Another prompt on the same repository is likely, the same branch and commands are not.
    const kept = repo.value;
    event.target.reset();
    repo.value = kept;
    warning = { id: created.sessionId, text: warned(created) };
    location.hash = created.sessionId;
  });
