// The cards of what the agent asks. All of it is the agent's words, so what can't be seen is spelled out.

import { composes, element } from "./dom.js";
import { permission, questions, REPLIES } from "./inputs.js";
import { visible } from "./text.js";

// `answer(card, body)` is called with what a person chose.
export function newCard(asked, answer) {
  const card = element("div", "ask");
  card.dataset.request = asked.requestId;
  const fields = asked.kind === "permission" ? permissionFields : questionFields;
  const set = element("fieldset", "", ...fields(asked, (body) => answer(card, body)));
  set.ariaLabel = "The agent asks";
  card.append(set);
  return card;
}

function button(text, onclick, className = "") {
  const node = element("button", className, text);
  node.type = "button";
  node.onclick = onclick;
  return node;
}

const choices = (...nodes) => element("div", "choices", ...nodes);

function permissionFields(asked, answer) {
  const reply = (text, value, className) => button(text, () => answer({ reply: value }), className);
  return [
    element("p", "", visible(`May the agent do this? ${permission(asked)}`)),
    choices(reply(REPLIES.once, "once", "primary"), reply(REPLIES.always, "always"), reply("Reject", "reject")),
  ];
}

// The options of a lone question answer it at once; those of several are chosen, then sent.
function questionFields(asked, answer) {
  const all = questions(asked);
  const chosen = all.map(() => new Set());
  const options = [];
  const atOnce = all.length === 1 && all[0].labels.length > 0 && !all[0].multiple;
  const missing = all.map(() => element("small", "wrong"));
  const choose = (at, label) => {
    missing[at].replaceChildren();
    if (atOnce) {
      answer({ answers: [[label]] });
      return;
    }
    const had = chosen[at].delete(label);
    if (!all[at].multiple) chosen[at].clear();
    if (!had) chosen[at].add(label);
    for (const one of options) one.node.ariaPressed = String(chosen[one.at].has(one.label));
  };
  const option = (at, label, description) => {
    const node = button(visible(label), () => choose(at, label));
    if (description) node.append(element("small", "", visible(description)));
    if (!atOnce) node.ariaPressed = "false";
    options.push({ node, at, label });
    return node;
  };
  // None of several is an answer, no word or none of the others is not.
  const send = () => {
    const at = all.findIndex(({ multiple }, n) => !multiple && !chosen[n].size);
    if (at < 0) return answer({ answers: chosen.map((labels) => [...labels]) });
    missing[at].replaceChildren("This has no answer yet.");
    const next = missing[at].nextElementSibling;
    (next.querySelector("button") ?? next).focus();
  };
  const words = (at, text) => {
    const node = element("input");
    node.ariaLabel = text;
    node.oninput = () => {
      missing[at].replaceChildren();
      chosen[at] = new Set(node.value.trim() ? [node.value.trim()] : []);
    };
    node.onkeydown = (event) => {
      if (event.key === "Enter" && !composes(event)) send();
    };
    return node;
  };
  const last = [button("Reject", () => answer({ reject: true }))];
  if (all.length && !atOnce) {
    last.unshift(button("Answer", send, "primary"));
  }
  return [
    ...all.flatMap(({ text, labels, descriptions }, at) => [
      element("p", "", visible(text)),
      missing[at],
      labels.length ? choices(...labels.map((label, n) => option(at, label, descriptions[n]))) : words(at, visible(text)),
    ]),
    choices(...last),
  ];
}

// A request's card is made once and taken away once, so that a choice half made stays.
export function drawAsked(box, open, answer) {
  const shown = new Map([...box.children].map((card) => [card.dataset.request, card]));
  for (const [id, card] of shown) if (!open.has(id)) card.remove();
  for (const [id, asked] of open) if (!shown.has(id)) box.append(newCard(asked, answer));
}
