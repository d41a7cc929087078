// The list of the caller's sessions.

import { element, setText } from "./dom.js";
import { newest, PAGE } from "./listing.js";
import { $, refused, state } from "./page.js";

let wanted = PAGE; // how many the list is to have

export async function refreshList() {
  if (!state.api || document.hidden) return;
  const [asked, many] = [state.api, wanted];
  const list = await newest(asked, many).catch((error) => {
    if (state.api === asked) refused(error);
  });
  if (!list || state.api !== asked || wanted !== many) return;
  $("sessions").replaceChildren(...list.items.map(listItem));
  $("more").hidden = !list.more;
}

function listItem(session) {
  const link = element("a");
  link.href = `#${session.sessionId}`;
  link.dataset.session = session.sessionId;
  const dot = element("span", "dot");
  const when = new Date(session.createdAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  link.append(dot, element("span", "", session.title), element("small", "", element("span"), ` · ${when}`));
  const { current } = state;
  const onDisplay = current?.id === session.sessionId;
  if (onDisplay) link.setAttribute("aria-current", "page");
  setStatus(link, onDisplay && current.view.session ? current.view.status : session.status);
  return link;
}

// The list is asked for seldom, and may not be behind what is told of the session on display.
export function tellList(id, status) {
  const link = $("sessions").querySelector(`[data-session="${CSS.escape(id)}"]`);
  if (link) setStatus(link, status);
}

function setStatus(link, status) {
  link.querySelector(".dot").dataset.status = status;
  setText(link.querySelector("small span"), status);
}

$("more").onclick = () => {
  wanted += PAGE;
  refreshList();
};
