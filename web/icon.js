// The tab's picture: the arrow alone, or with a dot in the colour of a session's status.

const COLOURS = { preparing: "3b6ef5", running: "3b6ef5", waits: "c77700", ready: "187a41", prepared: "187a41", failed: "b8282f" };
const OTHER = "5d6472";

export function drawIcon(status = "") {
  const dot = status && `<circle cx='12' cy='4' r='4' fill='%23${COLOURS[status] ?? OTHER}'/>`;
  const href = `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><path d='M3 2l10 6-10 6z' fill='%233b6ef5'/>${dot}</svg>`;
  const icon = document.getElementById("icon");
  if (icon.href !== href) icon.href = href;
}
