// What is not ours and draws text: Markdown, its cleaning, colours of terminals and of code. The project's set-up
// installs it (install.sh); where it is missing each is null, and text is shown as it is.

const load = (name) => import(`./vendor/${name}.js`).catch(() => null);

const [markdown, purify, ansi] = await Promise.all(["marked", "purify", "ansi"].map(load));

// Both or none: nothing that an agent wrote becomes HTML without being cleaned.
export const { Marked, DOMPurify } = markdown && purify ? { Marked: markdown.Marked, DOMPurify: purify.default } : {};
export const AnsiUp = ansi?.AnsiUp;

// Is the largest and the last to be needed; null where it is missing.
let coming = null;
export function highlighter() {
  coming ??= load("highlight").then((module) => module?.default ?? null);
  return coming;
}
