// The system's notices: only where somebody asked for them, and only while the page isn't seen.

import { onDevice } from "./memory.js";
import { $, attempt } from "./page.js";
import { readable } from "./text.js";

const WISH = "notify";
const NEWS = { waits: "waits for you", ready: "is done", prepared: "is prepared", failed: "failed" };
let before = { id: "", status: "" };

export function tellSystem(id, title, { status }) {
  const was = before.id === id ? before.status : status;
  before = { id, status };
  if (was === status || !NEWS[status] || !document.hidden || !wished()) return;
  // Their texts are kept by the system, so what agents and people wrote stays short.
  const shown = new Notification(`${readable(title).slice(0, 80)} ${NEWS[status]}`, { tag: id });
  shown.onclick = () => window.focus();
}

const can = () => "Notification" in globalThis;
const wished = () => can() && Notification.permission === "granted" && onDevice.getItem(WISH) === "yes";

function drawWish() {
  $("notify").hidden = !can();
  $("notify").setAttribute("aria-pressed", String(wished()));
}

$("notify").onclick = () =>
  attempt(async () => {
    const on = !wished();
    if (on && (await Notification.requestPermission()) !== "granted") throw new Error("The browser doesn't allow notices of this page: its settings do");
    onDevice.setItem(WISH, on ? "yes" : "no");
    drawWish();
  });

drawWish();
