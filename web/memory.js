// What this browser remembers of earlier sessions, for the next ones: a few entries, the oldest go first.

const MOST = 50;

// What the browser keeps; as long as the page is there only, where it has no room or may keep nothing.
class Store {
  #storage = null;
  #here = new Map();

  constructor(name) {
    try {
      this.#storage = globalThis[name];
    } catch {
      // Who keeps nothing of any page has no storage to ask.
    }
  }

  // What is stored was written later, as what is here was removed from there.
  getItem(name) {
    return this.#storage?.getItem(name) ?? this.#here.get(name) ?? null;
  }

  setItem(name, text) {
    try {
      this.#storage.setItem(name, text);
      this.#here.delete(name);
    } catch {
      this.removeItem(name);
      this.#here.set(name, text);
    }
  }

  removeItem(name) {
    this.#here.delete(name);
    this.#storage?.removeItem(name);
  }

  get names() {
    const stored = Array.from({ length: this.#storage?.length ?? 0 }, (_, at) => this.#storage.key(at));
    return [...stored, ...this.#here.keys()];
  }
}

export const onDevice = new Store("localStorage");
export const inTab = new Store("sessionStorage");

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
    onDevice.setItem(this.#name, JSON.stringify([[key, value], ...others].slice(0, MOST)));
  }

  #all() {
    try {
      const all = JSON.parse(onDevice.getItem(this.#name));
      return Array.isArray(all) ? all.filter((entry) => Array.isArray(entry) && typeof entry[0] === "string" && entry[1]) : [];
    } catch {
      return [];
    }
  }
}

// The same repository however it is written.
export const keyOf = (repo) =>
  repo.toLowerCase().replace(/^https?:\/\/(www\.)?github\.com\//, "").replace(/\.git$/, "");

// By what `keyOf` makes of an address: branch, setup and its inputs, agent, mode, model, system prompt, and the names of variables and secrets, without any value.
export const repositories = () => new Memory("repositories");

// By id: branch and setup as they were sent, which the API doesn't tell.
export const sessions = () => new Memory("sessions");

// Nothing of it is left for who uses this browser next.
export function forget() {
  for (const name of ["repositories", "sessions", "repo"]) onDevice.removeItem(name);
}

// Nor what was written in this tab and waits there.
export function forgetTab() {
  for (const name of inTab.names) if (/^(draft|sent|unanswered) /.test(name)) inTab.removeItem(name);
}
