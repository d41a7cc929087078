// What this browser remembers of earlier sessions, for the next ones: a few entries, the oldest go first.

const MOST = 50;

// What finds no room, or may not be kept, is not remembered: nothing of the page needs it.
export function write(storage, name, text) {
  try {
    storage.setItem(name, text);
  } catch {
    storage.removeItem(name);
  }
}

class Memory {
  #name;

  constructor(name) {
    this.#name = name;
  }

  get(key) {
    return this.#all().find(([known]) => known === key)?.[1];
  }

  set(key, value) {
    const others = this.#all().filter(([known]) => known !== key);
    write(localStorage, this.#name, JSON.stringify([[key, value], ...others].slice(0, MOST)));
  }

  #all() {
    try {
      const all = JSON.parse(localStorage.getItem(this.#name));
      return Array.isArray(all) ? all.filter((entry) => Array.isArray(entry) && typeof entry[0] === "string" && entry[1]) : [];
    } catch {
      return [];
    }
  }
}

// The same repository however it is written.
export const keyOf = (repo) =>
  repo.toLowerCase().replace(/^https?:\/\/(www\.)?github\.com\//, "").replace(/\.git$/, "");

// By what `keyOf` makes of an address: branch, setup, agent, mode, model, and the names of variables and secrets, without any value.
export const repositories = () => new Memory("repositories");

// By id: branch and setup as they were sent, which the API doesn't tell.
export const sessions = () => new Memory("sessions");

// Nothing of it is left for who uses this browser next.
export function forget() {
  for (const name of ["repositories", "sessions", "repo"]) localStorage.removeItem(name);
}

// Nor what was written in this tab and waits there.
export function forgetTab() {
  const names = Array.from({ length: sessionStorage.length }, (_, at) => sessionStorage.key(at));
  for (const name of names) if (/^(draft|sent|unanswered) /.test(name)) sessionStorage.removeItem(name);
}
