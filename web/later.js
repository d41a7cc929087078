// What only a session needs: most of the page. It is fetched when one is opened, or before, when nothing else is to do.

// What else an address may say would become the path of a call, made with the viewer's token.
export const SESSION_ID = /^ses_[A-Za-z0-9]+$/;

// All that session.js imports and the form doesn't, so that all of it is asked for at once; a test holds the two together.
const MODULES = [
  "ansi", "asked", "changes", "code", "composer", "conversation", "failure", "focus", "follow", "heading", "inputs", "items",
  "libraries", "logs", "markup", "morph", "parts", "pieces", "preparation", "prose", "queue", "reducer", "rest", "saved", "scroll",
  "shapes", "steps", "table", "talk", "texts", "tool", "view", "work", "working",
];
// Found where the page's set-up has put them; libraries.js does without.
const LIBRARIES = ["vendor/marked", "vendor/purify", "vendor/ansi"];

let coming = null;
let here = null;

// session.js, once it is here. Raises an error in words where it can't be had, and tries again when asked again.
export function fetchSession() {
  coming ??= all().then(() => import("./session.js")).catch((error) => {
    coming = null;
    console.error(error);
    throw new Error("The part of the page that shows a session can't be had; if another try doesn't help, load the page again");
  });
  return coming;
}

// A browser never asks again for a module that failed once to come, so none is imported before each can be had.
function all() {
  here ??= Promise.all([...MODULES, "session"].map(fetched)).then(() => preload([...MODULES, ...LIBRARIES]), (error) => {
    here = null;
    throw error;
  });
  return here;
}

async function fetched(name) {
  const answer = await fetch(`./${name}.js`);
  if (!answer.ok) throw new Error(`${name}.js: ${answer.status}`);
  // What isn't read to its end is not kept.
  await answer.arrayBuffer();
}

function preload(names) {
  for (const name of names) {
    const link = document.createElement("link");
    Object.assign(link, { rel: "modulepreload", href: `./${name}.js` });
    document.head.append(link);
  }
}

// Who comes by a session's address waits for this more than for the rest of the page, which imports this module.
if (SESSION_ID.test(location.hash.slice(1))) {
  preload(LIBRARIES);
  all().catch(() => {});
}
