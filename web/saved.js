// What the page shows of saved work: what is not in it, and its files to take away.

import { element } from "./dom.js";

const FEW = 5;

// A list that a person may fold, and that is folded from the start where it is long.
export function drawLeftOut(details, names) {
  details.hidden = !names.length;
  const text = JSON.stringify(names);
  if (details.dataset.names === text) return;
  details.dataset.names = text;
  details.open = names.length <= FEW;
  details.querySelector("ul").replaceChildren(...names.map((name) => element("li", "", name)));
}

export function closeLeftOut(details) {
  details.querySelector("ul").replaceChildren();
  delete details.dataset.names;
}

const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

// The nodes that say what there is, as GET …/archive answers it, with a link to each file.
export function savedFiles({ savedAt, base, difference, missing }, sessionId) {
  const without = missing ? `, without ${missing}` : "";
  const files = [["Base", base], ["Difference", difference]].filter(([, file]) => file);
  return [
    element("p", "", `Saved at ${new Date(savedAt).toLocaleString()}${without}. The links last 15 minutes:`),
    element("p", "choices", ...files.map(([name, file]) => link(`${name}, ${size(file.bytes)}`, file.url))),
    element("p", "", "A folder of both is made by ", element("code", "", `headstart archive ${sessionId}`), "."),
  ];
}

function link(text, url) {
  const node = element("a", "", text);
  // Only what is fetched: an address of another kind could run as the page.
  if (/^https?:$/.test(new URL(url).protocol)) node.href = url;
  node.rel = "noreferrer";
  node.download = "";
  return node;
}
