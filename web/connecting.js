// The form that connects: where the API is, and a token for it. Both are tried before they are kept.

import { Api, EXPIRED, health, HIDDEN } from "./api.js";
import { another, apiOf, connect, connection, disconnect, end, hostOf, pairOf, takeLink } from "./connection.js";
import { emptyForm } from "./creating.js";
import { setText } from "./dom.js";
import { tellFields } from "./fields.js";
import { forget, forgetTab, onDevice } from "./memory.js";
import { $, leave, notice, onRefused, show, state, submitted } from "./page.js";
import { readable } from "./text.js";
import { expired, subjectOf } from "./token.js";

// Nothing of this tab is left for who uses the page next.
function emptyTab() {
  leave();
  forgetTab();
  for (const form of document.forms) form.reset();
  emptyForm();
}

function handOver() {
  emptyTab();
  forget();
}

// Where the API is: from a link once, then from what is kept. Says why there is a form instead.
export function readAddress() {
  const agrees = (question) => {
    const agreed = confirm(readable(question));
    if (agreed) handOver();
    return agreed;
  };
  if (takeLink(location.hash, onDevice, agrees)) {
    // A token must not stay in the address, where it is seen, copied and remembered.
    history.replaceState(null, "", location.pathname + location.search);
  }
  const known = connection(onDevice);
  const same = state.api && state.api.url === known?.api && state.api.token === known?.token;
  if (!same) state.api = known?.token ? new Api(known.api, known.token) : null;
  $("account").hidden = !state.api;
  setText($("api"), state.api ? hostOf(state.api.url) : "");
  return known?.why ? `${known.why}: get another one.` : "";
}

export function showConnect(why) {
  show("connect");
  $("account").hidden = true;
  notice(why);
  const { api, token } = $("connect").elements;
  api.value ||= connection(onDevice)?.api ?? "";
  (api.value ? token : api).focus();
}

// What is wrong with a pair, by field; empty where a first list came.
async function wrong(url, token) {
  if (!/^https?:\/\/[^/\s]+/.test(url)) return { api: "The whole address, please, from https:// on." };
  const found = await health(url);
  if (!found) return { api: `${url} can't be reached from this page. Is it the address of the API alone, as its deployment prints it (HttpUrl), and does the API allow this page's origin?` };
  if (found.status !== "ok") return { api: `Something answers at ${url}, but it is no Headstart.` };
  const ended = expired(token);
  if (ended) return { token: `${ended}: get another one.` };
  try {
    await new Api(url, token).call("GET", "/sessions?limit=1", undefined, { once: true });
    return {};
  } catch (error) {
    if (![HIDDEN, EXPIRED].includes(error.code) && error.status !== 401) throw error;
    return { token: "The API is there and refuses this token. Is all of it here, and is it for this address?" };
  }
}

// `route` is called when there is a pair, and when there is none any more.
export function onConnect(route) {
  $("connect").onsubmit = (event) =>
    submitted(event, async () => {
      const form = event.target;
      const { api, token: pasted } = form.elements;
      const token = pasted.value.trim().replace(/^Bearer\s+/i, "");
      tellFields(form, {});
      const url = (api.value = apiOf(api.value));
      const found = await wrong(url, token);
      tellFields(form, found);
      if (Object.keys(found).length) return;
      if (another(connection(onDevice), { api: url, token, user: subjectOf(token) })) handOver();
      connect(onDevice, url, token);
      pasted.value = "";
      route();
    });
  $("disconnect").onclick = () => {
    handOver();
    disconnect(onDevice);
    route();
  };
  // Another tab of this browser has a token again, or none any more.
  window.addEventListener("storage", ({ key, oldValue, newValue }) => {
    if (key !== "connection") return;
    if (another(pairOf(oldValue), pairOf(newValue))) emptyTab();
    const known = connection(onDevice);
    if (known?.api !== state.api?.url || (known?.token ?? "") !== (state.api?.token ?? "")) route();
  });
  onRefused((error) => {
    const token = connection(onDevice)?.token ?? "";
    // A throttled call looks like a refused one: the token may be good yet, and can be tried again.
    if (error.code === HIDDEN) $("connect").elements.token.value = token;
    else end(onDevice);
    const ended = expired(token);
    showConnect(ended ? `${ended}: get another one.` : error.code === HIDDEN ? `${error.message}.` : "The API refused the token: it may have expired.");
  });
}
