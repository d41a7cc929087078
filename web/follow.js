// Follows one session for ever: tickets, sockets and timers around the reducer.

import { backoff, HIDDEN, pathOf } from "./api.js";
import { CAUGHT_UP, Reducer } from "./reducer.js";
import { words } from "./shapes.js";

const PING_EVERY = 30;
const PONG_WITHIN = 10;
const RECONNECT_CAP = 20;
// When a machine or a person is back.
const BACK = [[globalThis, "online"], [globalThis.document, "visibilitychange"]];

// Calls `onEvent` for each event and `onLost` with a reason when the connection broke. `stream` is the
// first connection's address and ticket, for who has them already. Ends when the session was deleted
// or `signal` aborts; throws what the ticket call says for good (401, 404), and an answer that the
// browser hides: trying for ever would only hide it from people, too.
export async function follow(api, sessionId, { onEvent, onLost, signal, stream = null }) {
  const reducer = new Reducer();
  let failures = 0;
  let given = stream;
  while (!signal.aborted && !reducer.deleted) {
    try {
      // Why a handshake was refused can't be seen, so each connection has a ticket of its own.
      const ticket = given ?? (await api.call("POST", pathOf(sessionId, "stream-ticket")));
      given = null;
      await watch(ticket, reducer, signal, (event) => {
        if (event.eventId || event.type === CAUGHT_UP) failures = 0;
        if (!signal.aborted) onEvent(event);
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error.retryable === false || error.code === HIDDEN) throw error;
      failures += 1;
      onLost(error.message);
      await pause(backoff(failures, 0.5, RECONNECT_CAP), signal);
    }
  }
}

// Ends early where the machine is back in a network, or nobody looks any more.
function pause(seconds, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      globalThis.removeEventListener?.("online", end);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, seconds * 1000);
    globalThis.addEventListener?.("online", end);
    signal.addEventListener("abort", end);
  });
}

// Resolves when there is nothing more to see; rejects when the connection is no good any more.
function watch(stream, reducer, signal, onEvent) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${stream.url}?ticket=${encodeURIComponent(stream.ticket)}`);
    const timers = {};
    const later = (name, seconds, action) => {
      clearTimeout(timers[name]);
      timers[name] = setTimeout(action, seconds * 1000);
    };
    const end = (settle, value) => {
      Object.values(timers).forEach(clearTimeout);
      signal.removeEventListener("abort", leave);
      for (const [target, back] of BACK) target?.removeEventListener?.(back, look);
      socket.onmessage = socket.onclose = null;
      socket.close();
      settle(value);
    };
    const leave = () => end(resolve);
    const broken = (reason) => end(reject, new Error(reason));
    const send = (frame) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(frame));
    const subscribe = () => {
      clearTimeout(timers.subscribe);
      timers.subscribe = undefined;
      send(reducer.subscribe());
    };
    const ping = () => {
      send({ action: "ping" });
      later("pong", PONG_WITHIN, () => broken("the cloud stopped answering"));
      later("ping", PING_EVERY, ping);
    };

    // Who comes back from sleep or another network does not wait for the next ping to see what is gone.
    const look = () => globalThis.document?.hidden || (socket.readyState === WebSocket.OPEN && ping());

    signal.addEventListener("abort", leave);
    for (const [target, back] of BACK) target?.addEventListener?.(back, look);
    later("open", PONG_WITHIN, () => broken("the cloud did not answer"));
    socket.onopen = () => {
      clearTimeout(timers.open);
      subscribe();
      // Who accepts and then says nothing is not waited for until the first ping were due.
      ping();
    };
    socket.onclose = () => broken("the connection was closed");
    socket.onmessage = ({ data }) => {
      const frame = parsed(data);
      clearTimeout(timers.pong);
      // API Gateway's own failures carry a message and no type.
      if ((frame?.type ?? "error") === "error") return broken(words(frame?.message) || "the cloud failed");
      const { events, again } = reducer.feed(frame);
      if (again === 0 || (again !== null && timers.subscribe === undefined)) {
        later("subscribe", again, () => {
          timers.subscribe = undefined;
          if (reducer.incomplete) subscribe();
        });
      }
      events.forEach(onEvent);
      if (reducer.deleted) leave();
    };
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
