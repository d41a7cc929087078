// What the page's parts share: its nodes by their ids, who is connected, and what is said to people.

import { HIDDEN } from "./api.js";
import { setText } from "./dom.js";

export const $ = (id) => document.getElementById(id);

// `api` is null until somebody is connected; `current` is the session on display, {id, view, stop, lost}.
export const state = { api: null, current: null };

// Shows one of the page's parts, none for an empty id.
export function show(id) {
  for (const name of ["connect", "create", "session"]) $(name).hidden = name !== id;
}

export function notice(text = "") {
  $("notice").hidden = !text;
  setText($("notice"), text);
}

// What may fail, said where a person looks.
export async function attempt(action, meanwhile = "") {
  notice(meanwhile);
  try {
    return await action();
  } catch (error) {
    if (!refused(error)) notice(`${error.message.replace(/\.$/, "")}.`);
    return undefined;
  }
}

// A refused token leads back to the first form; nothing is asked any more before there is another.
export function refused(error) {
  if (error.status !== 401 && error.code !== HIDDEN) return false;
  leave();
  state.api = null;
  show("connect");
  notice(error.code === HIDDEN ? `${error.message}.` : "The API refused the token: it may have expired.");
  return true;
}

export function leave() {
  state.current?.stop.abort();
  state.current = null;
}

// Runs while the form is locked, so that a second click sends nothing twice.
export async function submitted(event, action) {
  event.preventDefault();
  const button = event.target.querySelector("button.primary");
  button.disabled = true;
  await attempt(action);
  button.disabled = false;
}
