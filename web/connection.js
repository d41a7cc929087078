// Where the API is and who asks: one pair, from a link or the form, kept on this device until the token ends.
//
// The two never part: a token that is stored is not sent to an address out of a link, nor one out
// of a link to an address that is stored.

import { expired, subjectOf } from "./token.js";

const KEY = "connection";
const LEEWAY = 5 * 60_000; // between this clock and the API's

// Takes what a link brings. Of half a pair the address alone counts, and another address drops the token.
// Anybody may send a link: one that would lead to another API, or make its reader somebody else there, is taken
// if `agrees` says so of a question.
export function takeLink(hash, storage, agrees) {
  const given = new URLSearchParams(hash.slice(1));
  const [api, token, repo] = [apiOf(given.get("api") ?? ""), ...["token", "repo"].map((name) => given.get(name) ?? "")];
  const known = stored(storage);
  const change = known && changeOf(known, api, token);
  if (reachable(api) && (token || api !== known?.api) && (!change || agrees(change))) {
    connect(storage, api, token);
    storage.removeItem("repo");
    if (repo) storage.setItem("repo", repo);
  }
  return given.has("api") || given.has("token");
}

// Anything else is no address, but can be a text for the question.
const reachable = (api) => /^https?:\/\//.test(api) && URL.canParse(api);

function changeOf(known, api, token) {
  if (api !== known.api) {
    const hosts = [api, known.api].map(hostOf);
    const [other, mine] = (hosts[0] === hosts[1] ? [api, known.api] : hosts).map(short);
    return `This link leads the page to the API at ${other}, instead of ${mine}. What you write and what your sessions are given would go there. Follow it?`;
  }
  const given = { api, token, user: subjectOf(token) };
  if (!another(known, given)) return "";
  const [mine, other] = [known.user, given.user].map((user) => (user === null ? "somebody whom it doesn't name" : short(user)));
  return `This link makes you another user of the API at ${short(hostOf(api))}: ${other} instead of ${mine}. What you begin would be theirs. Follow it?`;
}

// Whether what is there of one pair is none of the other's: users are the same where both tokens name one, or are one.
export function another(known, given) {
  if (known?.user === undefined) return false;
  if (given?.api !== known.api || given.user === undefined) return true;
  if (!given.token || given.token === known.token) return false;
  return known.user === null || known.user !== given.user;
}

const MOST = 100; // characters

// Whoever wrote the link wrote this, too: a few words of it are no sentences beside the page's own.
function short(text) {
  const flat = text.replace(/\s+/g, " ").trim();
  return flat.length > MOST ? `${flat.slice(0, MOST)}…` : flat;
}

const CALL = /\/+(?:sessions|defaults|encryption-key|health|openapi\.json)(?:\/.*)?$/;

// The address of the API, also out of that of one of its calls.
export function apiOf(text) {
  const given = text.trim();
  if (!URL.canParse(given)) return given;
  const { origin, pathname } = new URL(given);
  return origin === "null" ? given : origin + pathname.replace(CALL, "").replace(/\/+$/, "");
}

// What a person knows an API by.
export function hostOf(api) {
  return URL.canParse(api) ? new URL(api).host : api;
}

export function connect(storage, api, token) {
  storage.setItem(KEY, JSON.stringify({ api, token }));
}

// What is left is the address, for the next token.
export function disconnect(storage) {
  const pair = stored(storage);
  if (pair) connect(storage, pair.api, "");
}

// Whose it was stays, or the next link could make its reader anybody.
export function end(storage) {
  const pair = stored(storage);
  if (pair?.token) storage.setItem(KEY, JSON.stringify({ api: pair.api, token: "", user: pair.user }));
}

// {api, token, user, why}, null where there is nothing: without a token `why` may say what became of it.
export function connection(storage) {
  const pair = stored(storage);
  if (!pair) return null;
  const why = pair.token && expired(pair.token, LEEWAY);
  if (why) end(storage);
  return why ? { ...pair, token: "", why } : { ...pair, why: "" };
}

const stored = (storage) => pairOf(storage.getItem(KEY));

// A pair as it is stored. `user` is null where the token doesn't name one, and undefined where nobody is connected.
export function pairOf(text) {
  try {
    const { api, token, user } = JSON.parse(text) ?? {};
    if (typeof api !== "string" || typeof token !== "string") return null;
    return { api, token, user: token ? subjectOf(token) : user };
  } catch {
    return null;
  }
}
