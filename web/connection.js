// Where the API is and who asks: one pair, from a link or the form, kept for this tab.
//
// The two never part: a token that is stored is not sent to an address out of a link, nor one out
// of a link to an address that is stored.

const KEY = "connection";

// Takes a link's pair in place of all that is stored; half a pair changes nothing.
export function takeLink(hash, storage) {
  const given = new URLSearchParams(hash.slice(1));
  const [api, token, repo] = ["api", "token", "repo"].map((name) => given.get(name) ?? "");
  if (api && token) {
    storage.clear();
    connect(storage, api, token);
    if (repo) storage.setItem("repo", repo);
  }
  return given.has("api") || given.has("token");
}

export function connect(storage, api, token) {
  storage.setItem(KEY, JSON.stringify({ api, token }));
}

// The pair, null where there is none.
export function connection(storage) {
  return JSON.parse(storage.getItem(KEY) ?? "null");
}
