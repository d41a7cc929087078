// Why a preparation failed, and what can be done about it from here or elsewhere.

import { setText } from "./dom.js";

// `$` finds a node of the page by its id.
export function drawFailure($, view, id) {
  const { failure } = view;
  $("failure").hidden = !failure;
  if (!failure) return;
  setText($("reason"), failure.reason);
  const output = failure.step ? view.step(failure.step).output.trimEnd() : "";
  $("output").hidden = !output;
  setText($("output"), output);
  $("retry").hidden = !failure.retryable;
  $("ways").hidden = failure.code !== "RestoreFailed";
  if ($("ways").hidden) $("files").replaceChildren();
  $("elsewhere").hidden = failure.code !== "BranchNotFound";
  $("sealed").hidden = failure.code !== "SecretsUnavailable";
  setText($("sealed"), `The command line sends others, all of them together: headstart retry ${id} --secret NAME …`);
}
