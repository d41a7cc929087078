// What a token says of itself. Nothing here checks it: that is the API's.

function claims(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    return {};
  }
}

// When it ends, in milliseconds since 1970; one that doesn't say so never does.
export function endOf(token) {
  const { exp } = claims(token);
  return Number.isFinite(exp) ? exp * 1000 : Infinity;
}

// Whose it is, null where it doesn't say so.
export function subjectOf(token) {
  const { sub } = claims(token);
  return typeof sub === "string" ? sub : null;
}

// Why a token is no good any more, null while it is good. Clocks differ, so `leeway` milliseconds are forgiven.
export function expired(token, leeway = 0) {
  const end = endOf(token);
  if (end + leeway > Date.now()) return null;
  const when = new Date(end);
  const today = when.toDateString() === new Date().toDateString();
  return `The token expired ${today ? `at ${when.toLocaleTimeString([], { timeStyle: "short" })}` : `on ${when.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}`}`;
}
