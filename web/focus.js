// Focus that is lost with what it was on: who uses a keyboard or a screen reader would begin at the page's top again.

import { $ } from "./page.js";

const TALK = "#conversation, .jump, #asked, #held";
const TAKES = "a, button, input, label, select, summary, textarea, [tabindex]";

let last = null; // what had it in the session on display, while nobody took it elsewhere
let home = null; // where it goes if that is there no more

addEventListener("focusin", ({ target }) => {
  last = $("session").contains(target) ? target : null;
  home = target.closest(TALK) ? $("conversation") : $("title");
});

// Who presses where nothing takes it wants it nowhere.
addEventListener("pointerdown", ({ target }) => {
  if (!target.closest(TAKES)) last = null;
});

const nowhere = () => document.activeElement === null || document.activeElement === document.body;

// To be asked for again and again: what is locked for a moment gets it back.
export function keepFocus() {
  if (!last || !nowhere()) return;
  const there = last.isConnected && last.checkVisibility();
  // A field is left by closing a phone's keyboard, which another focus would open again.
  if (there && last.matches(":disabled, input, select, textarea")) return;
  (there ? last : home).focus({ preventScroll: true });
}

// A session comes on display: what led to it is not what a person goes on with.
export function arrive() {
  last = null;
  const { activeElement } = document;
  if (nowhere() || !activeElement.checkVisibility() || activeElement.closest("nav")) $("title").focus({ preventScroll: true });
}
