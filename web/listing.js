// The caller's sessions, newest first: as many as a person wants to see, page by page.

export const PAGE = 20;
const LIMIT = 100; // what one call answers at most

export async function newest(api, wanted) {
  const items = [];
  let cursor = null;
  do {
    const page = new URLSearchParams({ limit: Math.min(wanted - items.length, LIMIT) });
    if (cursor) page.set("cursor", cursor);
    const answer = await api.call("GET", `/sessions?${page}`);
    items.push(...answer.items);
    cursor = answer.nextCursor;
  } while (cursor && items.length < wanted);
  return { items, more: Boolean(cursor) };
}
