// What a session changed, and publishing it.

import { pathOf } from "./api.js";
import { diffBeginning, drawWork as drawState, fileList, link } from "./changes.js";
import { $, attempt, state } from "./page.js";

export function drawWork(view) {
  drawState({ work: $("work"), worked: $("worked"), published: $("published"), page: $("page"), publish: $("send-work") }, view);
}

export function closeWork() {
  $("work").open = false;
  $("diff").hidden = true;
  $("publish").reset();
  for (const name of ["worked", "published", "page", "changed", "whole-diff", "diff"]) $(name).replaceChildren();
  delete $("page").dataset.url;
}

$("publish").onsubmit = (event) => {
  event.preventDefault();
  const { id, view } = state.current;
  const body = event.target.elements.pull.checked ? { pullRequest: { draft: false } } : {};
  attempt(async () => {
    const session = await state.api.call("POST", pathOf(id, "publish"), body);
    view.work.asked(session);
    if (state.current?.view === view) drawWork(view);
  });
};

$("compare").onclick = () => {
  const { id } = state.current;
  attempt(async () => {
    const [changes, diff] = await Promise.all(["changes", "diff"].map((what) => state.api.call("GET", pathOf(id, what))));
    // The bucket may let no page read it: then there is the link.
    const text = await fetch(diff.url).then((answer) => (answer.ok ? answer.text() : null), () => null);
    if (state.current?.id !== id) return;
    $("changed").replaceChildren(...fileList(changes));
    $("whole-diff").replaceChildren(link("The whole diff", diff.url));
    $("diff").hidden = text === null;
    $("diff").replaceChildren(...(text === null ? [] : diffBeginning(text)));
  });
};
