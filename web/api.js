// The HTTP API for the page: bounded retries that keep their Idempotency-Key, one kind of error.

import { expired } from "./token.js";

const TRIES = 4;
const RETRY_BASE = 0.5;
const RETRY_CAP = 8;
const RETRY_AFTER_LIMIT = 30;
const CALL_LIMIT = 40_000; // API Gateway answers within 30 s
const LOOK_LIMIT = 10_000;

// Codes that no pause lifts: a place is free when a person ends a session or a turn ends.
const FULL = ["QueueFull", "QuotaExceeded"];

// The code of an error where nobody is there.
export const UNREACHED = "Unreached";

// The code of an error whose answer the browser doesn't let the page read.
export const HIDDEN = "Hidden";

// The code of a token that ended.
export const EXPIRED = "TokenExpired";

export const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

export function backoff(failures, base = RETRY_BASE, cap = RETRY_CAP) {
  return Math.min(cap, base * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
}

// `status` is 0 when no answer came at all.
export class ApiError extends Error {
  constructor(status, problem = {}, retryAfter = 0) {
    super(problem.detail ?? problem.message ?? problem.title ?? `The API answered ${status}`);
    this.status = status;
    this.code = problem.code ?? "";
    this.errors = Array.isArray(problem.errors) ? problem.errors : [];
    this.retryable = problem.retryable ?? [0, 429, 500, 502, 503, 504].includes(status);
    this.retryAfter = retryAfter;
  }
}

// crypto.randomUUID is there only where the page came by https or from this machine.
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// An id as a part of a path. Dots alone would lead to another call, which browsers make of them however they are written.
function segment(id) {
  if (/^\.*$/.test(id)) throw new ApiError(404, { detail: "There is no such thing" });
  return encodeURIComponent(id);
}

// The path of a session, or of what belongs to it.
export const pathOf = (id, ...below) => ["/sessions", ...[id, ...below].map(segment)].join("/");

// What was not answered yet, by address: {text, key}, in a tab's storage: a draft outlives a reload, and so must its key.
export const kept = (storage) => ({
  get: (address) => JSON.parse(storage.getItem(`unanswered ${address}`) ?? "null") ?? undefined,
  set: (address, sent) => storage.setItem(`unanswered ${address}`, JSON.stringify(sent)),
  delete: (address) => storage.removeItem(`unanswered ${address}`),
});

export class Api {
  constructor(url, token) {
    this.url = url.replace(/\/+$/, "");
    this.token = token;
  }

  // `once` is for calls whose repetition could do something else the second time.
  async call(method, path, body, { once = false, key = newKey() } = {}) {
    const headers = { authorization: `Bearer ${this.token}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    if (method === "POST") headers["idempotency-key"] = key;
    for (let failures = 1; ; failures += 1) {
      try {
        return await this.#send(method, path, headers, body);
      } catch (error) {
        // It is gone, as was wanted: by this call, an earlier one, or one that the browser sent twice by itself.
        if (method === "DELETE" && error.status === 404) return null;
        const lost = [0, 500, 502, 504].includes(error.status);
        const again = error.retryable && !FULL.includes(error.code) && !(once && lost);
        if (!again || error.retryAfter > RETRY_AFTER_LIMIT || failures === TRIES) throw error;
        await sleep(error.retryAfter || backoff(failures));
      }
    }
  }

  // A POST that a person may ask for again: its key lasts until it succeeds or what is sent changes. `sent` keeps what was
  // not answered, as a Map does; whose text it is empties it with that.
  async post(path, body, sent) {
    const [address, text] = [this.url + path, JSON.stringify(body)];
    const before = sent.get(address);
    const key = before?.text === text ? before.key : newKey();
    sent.set(address, { text, key });
    const answer = await this.call("POST", path, body, { key });
    sent.delete(address);
    return answer;
  }

  // What is asked for from now on is something else, though it be in the same words.
  forget(path, sent) {
    sent.delete(this.url + path);
  }

  async #send(method, path, headers, body) {
    let response;
    try {
      // A redirect would take the token to an address that it was not given with.
      const signal = AbortSignal.timeout(CALL_LIMIT);
      const options = { method, headers, body: JSON.stringify(body), redirect: "error", signal };
      response = await fetch(this.url + path, options);
    } catch (error) {
      if (error.name === "TimeoutError") throw new ApiError(0, { detail: `${this.url} did not answer in time` });
      throw await this.#unanswered();
    }
    const answer = await response.json().catch(() => null);
    if (response.ok) return answer;
    const wait = Number(response.headers.get("retry-after")) || 0;
    throw new ApiError(response.status, answer ?? {}, wait);
  }

  // API Gateway's own refusals (401, 429, 503) may lack the headers that let a page read them, and
  // then look as if nobody were there. What needs no token tells whether somebody is, and another call
  // with the token whether that is what is refused: then it can't be read either.
  async #unanswered() {
    if (!(await health(this.url))) return new ApiError(0, { code: UNREACHED, detail: `${this.url} can't be reached` });
    const ended = expired(this.token);
    if (ended) return new ApiError(401, { code: EXPIRED, detail: ended, retryable: false });
    const headers = { authorization: `Bearer ${this.token}` };
    const options = { headers, redirect: "error", signal: AbortSignal.timeout(LOOK_LIMIT) };
    const answer = await fetch(`${this.url}/sessions?limit=1`, options).catch(() => null);
    if (answer) return new ApiError(0, { detail: "No answer came: the connection broke, or a gateway refused the call" });
    const detail = "The API is there but refuses the token's requests: the token may have expired";
    return new ApiError(0, { code: HIDDEN, detail });
  }
}

// What an API says of itself without a token: an object, null where no such answer comes.
export async function health(url) {
  try {
    const answer = await fetch(`${url}/health`, { redirect: "error", signal: AbortSignal.timeout(LOOK_LIMIT) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
