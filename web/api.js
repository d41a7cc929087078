// The HTTP API for the page: bounded retries that keep their Idempotency-Key, one kind of error.

const TRIES = 4;
const RETRY_BASE = 0.5;
const RETRY_CAP = 8;
const RETRY_AFTER_LIMIT = 30;

// Codes that no pause lifts: a place is free when a person ends a session or a turn ends.
const FULL = ["QueueFull", "QuotaExceeded"];

// The code of an error whose answer the browser doesn't let the page read.
export const HIDDEN = "Hidden";

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
    this.retryable = problem.retryable ?? [0, 429, 500, 502, 503, 504].includes(status);
    this.retryAfter = retryAfter;
  }
}

// What was not answered yet, by address: {text, key}.
const unanswered = new Map();

export class Api {
  constructor(url, token) {
    this.url = url.replace(/\/+$/, "");
    this.token = token;
  }

  // `once` is for calls whose repetition could do something else the second time.
  async call(method, path, body, { once = false, key = crypto.randomUUID() } = {}) {
    const headers = { authorization: `Bearer ${this.token}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    if (method === "POST") headers["idempotency-key"] = key;
    for (let failures = 1; ; failures += 1) {
      try {
        return await this.#send(method, path, headers, body);
      } catch (error) {
        const lost = [0, 500, 502, 504].includes(error.status);
        const again = error.retryable && !FULL.includes(error.code) && !(once && lost);
        if (!again || error.retryAfter > RETRY_AFTER_LIMIT || failures === TRIES) throw error;
        await sleep(error.retryAfter || backoff(failures));
      }
    }
  }

  // A POST that a person may ask for again: its key lasts until it succeeds or what is sent changes.
  async post(path, body) {
    const [address, text] = [this.url + path, JSON.stringify(body)];
    if (unanswered.get(address)?.text !== text) unanswered.set(address, { text, key: crypto.randomUUID() });
    const answer = await this.call("POST", path, body, { key: unanswered.get(address).key });
    unanswered.delete(address);
    return answer;
  }

  async #send(method, path, headers, body) {
    let response;
    try {
      // A redirect would take the token to an address that it was not given with.
      const options = { method, headers, body: JSON.stringify(body), redirect: "error" };
      response = await fetch(this.url + path, options);
    } catch {
      throw await this.#unanswered();
    }
    const answer = await response.json().catch(() => null);
    if (response.ok) return answer;
    const wait = Number(response.headers.get("retry-after")) || 0;
    throw new ApiError(response.status, answer ?? {}, wait);
  }

  // API Gateway's own refusals (401, 429, 503) may lack the headers that let a page read them, and
  // then look as if nobody were there. What needs no token tells whether somebody is.
  async #unanswered() {
    const there = await fetch(`${this.url}/health`, { redirect: "error" }).then(({ ok }) => ok, () => false);
    if (!there) return new ApiError(0, { detail: `${this.url} can't be reached` });
    const detail = "The API is there but refuses the token's requests: the token may have expired";
    return new ApiError(0, { code: HIDDEN, detail });
  }
}
