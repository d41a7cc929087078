// The log of a conversation: what was said and done, what goes on, and below it what waits. One node an item, made once.

import { element, setText } from "./dom.js";
import { drawMessage, drawPart, newItem, tickPart } from "./items.js";
import { readable } from "./text.js";

const BEGINNING = 60; // characters
const NEAR = 60; // pixels from the end that count as the end
const WAITS = { held: "held: waits for you", queued: "waits for its turn", delivering: "on its way" };

// `does` are what its buttons do: rest(item), withdraw(item).
export class Conversation {
  #log;
  #jump;
  #does;
  #said = element("div", "stack");
  #activity = element("p", "note activity");
  #waiting = element("div", "stack");
  #nodes = new Map();
  #marks = new Map();
  #drawn = 0; // how many items have their node; none is ever put before another
  #following = true;
  #left = false; // by scrolling up, or for a rest that is fetched
  #top = 0; // where it was scrolled to last, by a person or by us
  #sizes;

  constructor(log, jump, does) {
    this.#log = log;
    this.#jump = jump;
    this.#does = does;
    this.#activity.ariaLive = "off"; // is told by what comes of it
    log.replaceChildren(this.#said, this.#activity, this.#waiting);
    log.onscroll = () => this.#scrolled();
    jump.onclick = () => this.toEnd();
    // What a person opens stays where it is. Whether the end is still in sight is seen once it is laid out; a rest that is
    // yet to be fetched takes longer than what is drawn meanwhile.
    log.onclick = ({ target }) => {
      if (target.closest?.("summary")) this.#following = false;
      if (target.closest?.(".more button")) this.#leave();
    };
    this.#follow(true);
    // What is drawn later, and what takes room from the log, moves its end as well.
    this.#sizes = globalThis.ResizeObserver && new ResizeObserver(() => this.#keepUp());
    for (const node of [log, this.#said, this.#waiting]) this.#sizes?.observe(node);
  }

  draw(view) {
    for (; this.#drawn < view.items.length; this.#drawn += 1) {
      const item = view.items[this.#drawn];
      // A message that waited is the same node in its place.
      const node = this.#nodeOf(item);
      if (item.kind === "user") this.#unmark(item.key, node);
      this.#said.append(node);
    }
    for (const item of view.items) {
      if (item.part?.changed) this.#drawPart(item, view.now);
      if (item.changed) this.#redraw(item);
    }
    this.#drawWaiting(view);
    const { activity } = view;
    this.#activity.hidden = !activity;
    setText(this.#activity, activity);
    this.#keepUp();
  }

  // The time of what runs.
  tick(view) {
    for (const { part } of view.items.slice(-20)) if (part) tickPart(part, view.now);
  }

  toEnd() {
    this.#follow(true);
    this.#goToEnd();
  }

  close() {
    this.#sizes?.disconnect();
    this.#log.replaceChildren();
  }

  #nodeOf(item) {
    if (!this.#nodes.has(item.key)) this.#nodes.set(item.key, newItem(item, this.#does.rest));
    return this.#nodes.get(item.key);
  }

  // What can't be drawn of one keeps nobody from reading the others.
  #drawPart({ key, part }, now) {
    try {
      drawPart(this.#nodes.get(key), part, this.#does.rest, now);
    } catch (error) {
      part.changed = false;
      reportError(error);
    }
  }

  #redraw(item) {
    item.changed = false;
    drawMessage(this.#nodes.get(item.key), item, this.#does.rest);
  }

  #drawWaiting(view) {
    const items = [...view.waiting.values()];
    for (const item of items) {
      const node = this.#nodeOf(item);
      if (item.changed) this.#redraw(item);
      if (!this.#marks.has(item.key)) {
        const mark = this.#newMark(item);
        this.#marks.set(item.key, mark);
        node.append(mark);
        node.className = "user waiting";
      }
      const [words, button] = this.#marks.get(item.key).children;
      setText(words, waitsFor(view, item));
      button.hidden = !view.withdrawable(item);
      // Heard alone, one is told from another by it.
      button.ariaLabel = readable(`Withdraw: ${beginningOf(item.text)}`);
      if (node.parentNode !== this.#waiting) this.#waiting.append(node);
    }
    for (const [key, node] of this.#nodes) {
      if (node.parentNode === this.#waiting && !items.some((item) => item.key === key)) node.remove();
    }
  }

  #unmark(key, node) {
    this.#marks.get(key)?.remove();
    node.className = "user";
  }

  #newMark(item) {
    const button = element("button", "", "Withdraw");
    button.type = "button";
    button.onclick = async () => {
      button.disabled = true;
      await this.#does.withdraw(item);
      button.disabled = false;
    };
    return element("div", "waits", element("span"), button);
  }

  // Only a person scrolls up, and however little: what is drawn moves the end away, or them along with it. Near the end
  // they are followed again when they come down to it.
  #scrolled() {
    const { scrollTop } = this.#log;
    const beforeEnd = this.#beforeEnd;
    if (scrollTop < this.#top && beforeEnd > 1) this.#leave();
    else if (beforeEnd < NEAR && (scrollTop !== this.#top || !this.#left)) this.#follow(true);
    this.#top = scrollTop;
  }

  get #beforeEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    return scrollHeight - scrollTop - clientHeight;
  }

  #follow(following) {
    this.#left = false;
    this.#following = following;
    // Who is followed to the end needs no anchor, and where that took them would look like scrolling up.
    this.#log.dataset.followed = following;
    this.#jump.hidden = following;
  }

  #leave() {
    this.#follow(false);
    this.#left = true;
  }

  // Who scrolls is told of only with the next frame, and what is drawn before that must not undo it.
  #keepUp() {
    this.#scrolled();
    if (this.#following) this.#goToEnd();
    else if (!this.#left) this.#follow(this.#beforeEnd < NEAR);
  }

  #goToEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#top = this.#log.scrollTop;
  }
}

function beginningOf(text) {
  const line = text.trim().split("\n")[0];
  return line.length > BEGINNING ? `${line.slice(0, BEGINNING)}…` : line;
}

function waitsFor(view, { messageId, first }) {
  const status = view.queue.status(messageId);
  if (view.status === "failed") return view.failure?.retryable ? "waits for another try" : "is not sent any more";
  if (view.status === "preparing" && first) return "is sent when everything is ready";
  if (view.status === "preparing" && status === "queued") return "waits until everything is ready";
  return WAITS[status] ?? "";
}
