// What tells a session from others: its title, its status, the tab's title and picture.

import { pathOf } from "./api.js";
import { composes, setText } from "./dom.js";
import { drawIcon } from "./icon.js";
import { tellSystem } from "./notices.js";
import { $, state, submitted } from "./page.js";
import { tellList } from "./sessions.js";
import { told } from "./status.js";
import { readable } from "./text.js";

export function drawHeading({ id, view, begun, lost, known }) {
  const title = view.session?.title ?? begun?.title ?? "";
  const is = told(view);
  setText($("title"), title);
  const repository = view.session?.repository;
  setText($("where"), repository ? `${repository.gitUrl} · ${repository.branch}` : (begun?.gitUrl ?? ""));
  $("status").dataset.status = lost ? "" : is.status;
  setText($("status"), lost ? "reconnecting…" : is.words);
  if (!known) return;
  document.title = readable(`${is.words} - ${title} · Headstart`);
  drawIcon(is.status);
  if (view.session) tellSystem(id, title, is);
}

// Renaming, in place of the title.

function renaming(on) {
  $("rename").hidden = !on;
  $("naming").hidden = on;
  $("title").hidden = on;
}

$("naming").onclick = () => {
  const { title } = $("rename").elements;
  title.value = state.current.view.session?.title ?? "";
  renaming(true);
  title.focus();
  title.select();
};

$("rename").onsubmit = (event) =>
  submitted(event, async () => {
    const { id, view } = state.current;
    const title = event.target.elements.title.value.trim();
    if (title && title !== view.session?.title) {
      const session = await state.api.call("PATCH", pathOf(id), { title });
      view.rename(session.title, session.lastEventId);
    }
    if (state.current?.view !== view) return;
    endRenaming();
    drawHeading(state.current);
    tellList(id, view);
  });

$("rename").onkeydown = (event) => {
  if (event.key === "Escape" && !composes(event)) endRenaming();
};

function endRenaming() {
  if ($("rename").hidden) return;
  renaming(false);
  $("naming").focus();
}

export function closeHeading() {
  renaming(false);
  $("rename").reset();
  for (const name of ["title", "where", "status"]) $(name).replaceChildren();
}
