// What the page's parts share: its nodes by their ids, who is connected, and what is said to people.

import { HIDDEN, UNREACHED } from "./api.js";
import { setText } from "./dom.js";
import { drawIcon } from "./icon.js";
import { wordsOf } from "./refusals.js";

export const $ = (id) => document.getElementById(id);

// `api` is null until somebody is connected; `current` is the session on display, {id, view, stop, lost, …}.
export const state = { api: null, current: null };

let turnAway = () => {};

// Shows one of the page's parts, none for an empty id.
export function show(id) {
  for (const name of ["connect", "create", "session"]) $(name).hidden = name !== id;
}

let unreached = false; // it is said that nobody is there

// A text, and nodes after it.
export function notice(text = "", ...nodes) {
  unreached = false;
  $("notice").hidden = !text;
  setText($("notice"), text);
  $("notice").append(...nodes);
}

// Nobody answers what the page asks by itself. That a machine has no network is no reason: the API may be on it.
export function unanswered() {
  const why = navigator.onLine === false ? "This machine is offline" : "The API does not answer";
  setText($("offline"), `${why}: what is shown may be old. It is tried again.`);
  $("offline").hidden = false;
}

// Somebody answers: that nobody does is not true any more. That a person didn't get what they asked for stays said.
export function answered() {
  $("offline").hidden = true;
  if (unreached) notice("The API can be reached again. What you asked for before was not done: ask again.");
}

const SLOW = 3000; // milliseconds
const WAITS = "This takes longer than usual: no answer has come yet.";

// What may fail, said where a person looks; so is that it takes long, but for what `lasts`.
export async function attempt(action, meanwhile = "", { lasts = false } = {}) {
  notice(meanwhile);
  const slow = lasts ? 0 : setTimeout(() => $("notice").hidden && notice(WAITS), SLOW);
  try {
    return await action();
  } catch (error) {
    if (!refused(error)) failed(error);
    return undefined;
  } finally {
    clearTimeout(slow);
    if ($("notice").textContent === WAITS) notice();
  }
}

export const sentence = (text) => `${text.replace(/\.$/, "")}.`;

export function failed(error) {
  notice(error.errors?.length ? wordsOf(error.errors) : sentence(error.message));
  unreached = error.code === UNREACHED;
}

// `turned(error)` is called where the token is refused; nothing is asked any more before there is another.
export function onRefused(turned) {
  turnAway = turned;
}

export function refused(error) {
  if (error.status !== 401 && error.code !== HIDDEN) return false;
  leave();
  state.api = null;
  turnAway(error);
  return true;
}

let farewell = "";

// Leads to the form of a new session, where `text` is said.
export function goHome(text = "") {
  farewell = text;
  location.hash = "";
}

// What is to be said where the page leads to, once.
export function said() {
  const text = farewell;
  farewell = "";
  return text;
}

// No session is on display any more, nor on the tab.
export function leave() {
  state.current?.stop.abort();
  state.current = null;
  document.title = "Headstart";
  drawIcon();
}

// Runs while the form is locked, so that a second click sends nothing twice.
export async function submitted(event, action) {
  event.preventDefault();
  const button = event.target.querySelector("button.primary");
  // A key that sends a form asks no button.
  if (button.disabled) return;
  button.disabled = true;
  await attempt(action);
  button.disabled = false;
}
