// The caller's sessions, newest first, page by page.

export const PAGE = 20;
const LIMIT = 100; // what one call answers at most
const CALLS = 10; // a searched page may be short or empty: so many are read at one go

// As many as are wanted, from `cursor` on, of those that `query` asks for.
export async function newest(api, wanted, { query = {}, cursor = null } = {}) {
  const items = [];
  let [next, calls] = [cursor, 0];
  do {
    const page = new URLSearchParams({ limit: Math.min(wanted - items.length, LIMIT) });
    if (next) page.set("cursor", next);
    for (const [name, value] of Object.entries(query)) if (value) page.set(name, value);
    const answer = await api.call("GET", `/sessions?${page}`);
    items.push(...answer.items);
    next = answer.nextCursor;
    calls += 1;
  } while (next && items.length < wanted && calls < CALLS);
  return { items, cursor: next, more: Boolean(next) };
}

// What is known with its first page read anew; null where they don't meet, as more is new than a page holds.
export function merged(known, first) {
  if (!first.more) return first;
  const last = first.items.at(-1)?.sessionId;
  const at = known.items.findIndex(({ sessionId }) => sessionId === last);
  if (at < 0) return null;
  const rest = known.items.slice(at + 1);
  return rest.length ? { ...known, items: [...first.items, ...rest] } : first;
}
