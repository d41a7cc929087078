// Why a preparation failed or was stopped, and what can be done about it from here or elsewhere.

import { repositoryOf } from "./address.js";
import { pathOf } from "./api.js";
import { newAttempt, repository } from "./bodies.js";
import { prefill } from "./creating.js";
import { element, setText } from "./dom.js";
import { tellFields } from "./fields.js";
import { keyOf, repositories, sessions } from "./memory.js";
import { $, attempt, goHome, notice, state, submitted } from "./page.js";
import { tellRefused } from "./refusals.js";
import { savedFiles } from "./saved.js";
import { told } from "./status.js";
import { warned } from "./warnings.js";

export function closeFailure() {
  $("change").open = false;
  $("retry").reset();
  tellFields($("retry"), {});
  $("files").replaceChildren();
  $("reason").replaceChildren();
  $("sealed").replaceChildren();
  for (const name of ["failure", "reason"]) delete $(name).dataset.of;
}

export function drawFailure({ id, view, retried }) {
  const { failure } = view;
  // What is tried again is no failure any more, though no event has said so yet.
  $("failure").hidden = !failure || retried === view.attempt;
  if (!failure) return;
  const stopped = told(view).status === "stopped";
  $("failure").dataset.status = stopped ? "stopped" : "failed";
  drawReason(failure.reason);
  $("retry").hidden = !failure.retryable;
  $("ways").hidden = failure.code !== "RestoreFailed";
  if ($("ways").hidden) $("files").replaceChildren();
  $("instead").hidden = failure.step !== "clone" || failure.code === "RestoreFailed";
  $("elsewhere").hidden = failure.code !== "BranchNotFound";
  $("sealed").hidden = failure.code !== "SecretsUnavailable";
  setText($("sealed"), `The command line sends others, all of them together: headstart retry ${id} --secret NAME …`);
  const of = `${id} ${view.attempt}`;
  if ($("failure").dataset.of === of) return;
  $("failure").dataset.of = of;
  // Only what this browser sent is known; unknown commands are no empty ones, so the fold stays closed.
  const known = sessions().get(id)?.setup;
  if (known === undefined) return;
  $("retry").elements.setup.value = known;
  $("change").open = failure.step === "setup";
}

// What it names is between backticks. Drawn again, the same would be heard again.
function drawReason(reason) {
  if ($("reason").dataset.of === reason) return;
  $("reason").dataset.of = reason;
  const parts = reason.split(/`([^`\n]+)`/).map((part, at) => (at % 2 ? element("code", "", part) : part));
  $("reason").replaceChildren(element("span", "", parts));
}

// The next attempt, with the setup commands as the form has them.
const attemptOf = ({ view }) => newAttempt(view.attempt, $("change").open ? $("retry").elements.setup.value : null);

// Somebody else, or a click before this one, was first: then it is tried again as it should be.
async function retry(mine, body) {
  try {
    const answer = await state.api.call("POST", pathOf(mine.id, "retry"), body, { once: true });
    notice(warned(answer));
  } catch (error) {
    if (error.code !== "StaleAttempt") throw error;
  }
  if (body.setupCommands) remember(mine, body.setupCommands.join("\n"));
  mine.retried = body.attemptNumber;
  if (state.current === mine) drawFailure(mine);
}

// The next session is likely to need what this one was corrected to.
function remember({ id, view }, setup) {
  sessions().set(id, { ...sessions().get(id), setup });
  const key = keyOf(view.session.repository.gitUrl);
  repositories().set(key, { ...repositories().get(key), setup });
}

$("retry").onsubmit = (event) =>
  submitted(event, async () => {
    const mine = state.current;
    const body = attemptOf(mine);
    const form = event.target;
    const given = (label, name) => ($(label).hidden ? "" : form.elements[name].value.trim());
    // As the form of a new session takes it.
    const found = repositoryOf(given("instead", "repo"));
    tellFields(form, found.wrong ? { repo: found.wrong } : {});
    if (found.wrong) return;
    const start = given("elsewhere", "branch") || found.branch;
    const changes = { ...(found.repo && repository(found.repo)), ...(start && { upstreamBranch: start }) };
    try {
      if (Object.keys(changes).length) {
        const { repository: now, lastEventId } = await state.api.call("PATCH", pathOf(mine.id), changes);
        mine.view.move(now.gitUrl, lastEventId);
      }
      await retry(mine, body);
    } catch (error) {
      tellRefused(form, error);
    }
  });

$("anew").onclick = () => {
  const warning = "The repository is cloned anew and the agent remembers nothing. What is saved then replaces what is saved now.";
  if (!confirm(`Start without the saved work? ${warning}`)) return;
  const mine = state.current;
  attempt(() => retry(mine, { ...attemptOf(mine), withoutArchive: true }));
};

$("download").onclick = () => {
  const { id } = state.current;
  attempt(async () => {
    const saved = await state.api.call("GET", pathOf(id, "archive"));
    if (state.current?.id === id) $("files").replaceChildren(...savedFiles(saved, id));
  });
};

// Another session begins with what this one was given.
$("copy").onclick = () => {
  const { id, view } = state.current;
  attempt(async () => {
    const { items } = await state.api.call("GET", pathOf(id, "messages"));
    if (state.current?.view !== view) return;
    prefill({ repo: view.session.repository.gitUrl, prompt: items[0]?.text ?? "", ...sessions().get(id) });
    goHome();
  });
};
