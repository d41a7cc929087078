// Where a person writes, from the first second on, and what of it waits for them.

import { kept, pathOf } from "./api.js";
import { composes, setText } from "./dom.js";
import { inTab } from "./memory.js";
import { dataOf } from "./shapes.js";

const RIGHT_TO_LEFT = /^\P{L}*[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Samaritan}\p{Script=Mandaic}\p{Script=Adlam}]/u;

// Which way a text is written, by its first letter.
const directionOf = (text) => (RIGHT_TO_LEFT.test(text) ? "rtl" : "ltr");

const draftOf = (id) => `draft ${id}`;
const sentOf = (id) => `sent ${id}`;

export function newComposer({ $, attempt, submitted, api, current }, { sent, stop }) {
  const [text, form] = [$("text"), $("message")];
  const sending = new Map(); // the sessions whose message is on its way, and whether it was told to be there
  const unwanted = new Set(); // those of them whose message is to be stopped once it is there
  let heard = 0; // the last event of the session on display

  function drawHeld(view) {
    $("held").hidden = !view.held;
    const first = view.status === "prepared";
    setText($("waits"), first ? "Everything is ready and the prompt is held." : "What you wrote waits: nothing more is sent by itself.");
    setText($("initiate"), first ? "Start the agent" : "Send what waits");
  }

  function draw(view) {
    drawHeld(view);
    text.placeholder = hintOf(view);
    setText($("keys"), keysOf(view));
    form.querySelector("button").disabled = sending.has(current().id) || (view.status === "failed" && !view.failure?.retryable);
  }

  function keysOf(view) {
    const { id } = current();
    const sends = sending.has(id);
    if (unwanted.has(id)) return `${view.awake ? "The agent" : "Waking"} is stopped as soon as it has your message`;
    if (view.wakes || (sends && view.status === "asleep")) return "Esc stops waking the session";
    return view.goes || (sends && view.awake) ? "Esc stops the agent" : "";
  }

  // What is on its way can't be stopped before it is there; a turn that goes on doesn't wait for it.
  function escape() {
    const { id, view } = current() ?? {};
    if (view?.goes || view?.wakes) return stop(id);
    if (!(view?.awake || view?.status === "asleep") || sending.get(id) !== "") return;
    unwanted.add(id);
    draw(view);
  }

  function arrived(id) {
    if (unwanted.delete(id)) stop(id);
  }

  // A message that nobody answered for goes again under its key; the same words as a new one do not.
  function forget(id) {
    api()?.forget(pathOf(id, "messages"), kept(inTab));
    inTab.removeItem(sentOf(id));
  }

  // What came before it was sent are the same words of another time.
  function told({ eventId, type, data }) {
    const { id } = current();
    heard = Math.max(heard, eventId ?? 0);
    const sent = JSON.parse(inTab.getItem(sentOf(id)) ?? "null");
    if (type !== "message.queued" || !sent || eventId <= sent.after) return;
    const { text: begins, textBytes } = dataOf({ type, data });
    if (textBytes ? sent.prompt.startsWith(begins) : sent.prompt === begins) {
      forget(id);
      if (sending.has(id)) sending.set(id, "arrived");
      arrived(id);
      done(id, sent.prompt);
    }
  }

  function done(id, prompt) {
    if (inTab.getItem(draftOf(id)) === prompt) keep(id, "");
    if (current()?.id === id && text.value === prompt) write("");
  }

  function write(draft) {
    text.value = draft;
    turn();
  }

  // A browser that finds it by itself takes half a minute for 20,000 lines.
  function turn() {
    text.dir = directionOf(text.value);
  }

  // A draft is of its session, and of this tab.
  function keep(id, draft) {
    if (draft) inTab.setItem(draftOf(id), draft);
    else inTab.removeItem(draftOf(id));
  }

  text.oninput = () => {
    const { id } = current() ?? {};
    if (!id) return;
    turn();
    keep(id, text.value);
    if (!text.value) forget(id);
  };

  async function send({ id, view }, prompt) {
    const before = JSON.parse(inTab.getItem(sentOf(id)) ?? "null");
    const sent = before?.prompt === prompt ? before : { prompt, after: heard };
    inTab.setItem(sentOf(id), JSON.stringify(sent));
    sending.set(id, "");
    draw(view);
    try {
      const answer = await api().post(pathOf(id, "messages"), { prompt }, kept(inTab));
      forget(id);
      view.taken(answer?.messageId);
      arrived(id);
    } catch (error) {
      if (sending.get(id) !== "arrived") throw error;
    } finally {
      sending.delete(id);
      unwanted.delete(id);
    }
  }

  form.onsubmit = (event) =>
    submitted(event, async () => {
      const { id, view } = current();
      const prompt = text.value;
      await send({ id, view }, prompt);
      done(id, prompt);
      if (current()?.id !== id) return;
      // The button was locked meanwhile; who went elsewhere stays there.
      if ([undefined, document.body, text, form.querySelector("button")].includes(document.activeElement)) text.focus();
      sent();
    }).then(() => current() && draw(current().view));

  text.onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !composes(event)) {
      event.preventDefault();
      form.requestSubmit();
    }
  };
  form.onkeydown = (event) => {
    if (event.key === "Escape" && !composes(event)) escape();
  };
  // Returning false would keep keys from the buttons and links in it.
  $("conversation").onkeydown = (event) => {
    if (event.key === "Escape") escape();
  };

  $("initiate").onclick = () => {
    const { id, view } = current();
    attempt(async () => {
      await api().call("POST", pathOf(id, "initiate"));
      view.release();
      if (current()?.view === view) drawHeld(view);
    });
  };

  return {
    open(id) {
      heard = 0;
      write(inTab.getItem(draftOf(id)) ?? "");
    },
    close() {
      write("");
    },
    draw,
    told,
  };
}

function hintOf({ status, turn, failure, held, keptBack, begun }) {
  if (status === "failed") {
    return failure?.retryable ? "What you write waits until you try again" : "The session failed for good: start a new one";
  }
  if (status === "preparing") return "Write what comes next: it is sent when everything is ready";
  if (status === "prepared" || keptBack) return `Write what comes after the ${begun ? "message" : "prompt"} that is held`;
  if (status === "asleep") return held ? "Write to wake the session: it sends what waits, too" : "Write to wake the session";
  if (turn) return "Write what comes next: it waits for its turn";
  return held ? "Write a message: it sends what waits, too" : "Write a message";
}
