// What is not ours and draws text: Markdown, its cleaning, colours of terminals and of code. The project's set-up
// installs it (install.sh); until it is here, and where it is missing, each is null, and text is shown as it is.

const load = (name) => import(`./vendor/${name}.js`).catch(() => null);

export let [Marked, DOMPurify, AnsiUp] = [null, null, null];

// To wait for it here would keep a session from being shown on a slow link.
export const arrived = Promise.all(["marked", "purify", "ansi"].map(load)).then(([markdown, purify, ansi]) => {
  // Both or none: nothing that an agent wrote becomes HTML without being cleaned.
  if (markdown && purify) [Marked, DOMPurify] = [markdown.Marked, purify.default];
  AnsiUp = ansi?.AnsiUp;
});

// Is the largest and the last to be needed; null where it is missing.
let coming = null;
export function highlighter() {
  coming ??= load("highlight").then((module) => module?.default ?? null);
  return coming;
}
