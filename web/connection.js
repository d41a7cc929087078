// Where the API is and who asks: one pair, from a link or the form, kept on this device until the token ends.
//
// The two never part: a token that is stored is not sent to an address out of a link, nor one out
// of a link to an address that is stored.

import { expired } from "./token.js";

const KEY = "connection";
const LEEWAY = 5 * 60_000; // between this clock and the API's

// Takes what a link brings. Of half a pair the address alone counts, and another address drops the token.
export function takeLink(hash, storage) {
  const given = new URLSearchParams(hash.slice(1));
  const [api, token, repo] = ["api", "token", "repo"].map((name) => given.get(name) ?? "");
  if (api && (token || api !== stored(storage)?.api)) {
    connect(storage, api, token);
    storage.removeItem("repo");
    if (repo) storage.setItem("repo", repo);
  }
  return given.has("api") || given.has("token");
}

export function connect(storage, api, token) {
  storage.setItem(KEY, JSON.stringify({ api, token }));
}

// What is left is the address, for the next token.
export function disconnect(storage) {
  const pair = stored(storage);
  if (pair) connect(storage, pair.api, "");
}

// {api, token, why}, null where there is nothing: without a token `why` may say what became of it.
export function connection(storage) {
  const pair = stored(storage);
  if (!pair) return null;
  const why = pair.token && expired(pair.token, LEEWAY);
  if (why) disconnect(storage);
  return why ? { ...pair, token: "", why } : { ...pair, why: "" };
}

function stored(storage) {
  try {
    const { api, token } = JSON.parse(storage.getItem(KEY)) ?? {};
    return typeof api === "string" && typeof token === "string" ? { api, token } : null;
  } catch {
    return null;
  }
}
