// What people paste to name a repository: a name on GitHub, its address, or that of one of its pages.

const NAME = /^[\w.-]+\/[\w.-]+$/;
const SSH = /^(?:ssh:\/\/)?(?:[\w.-]+@)([\w.-]+)(?::\d+)?[:/](.+)$/;

// What the pages of GitHub, GitLab, Gitea and Bitbucket are called that show one branch.
const OF_BRANCH = ["tree", "blob", "blame", "commits", "raw", "edit"];
const PAGES = [...OF_BRANCH, "pull", "pulls", "commit", "issues", "actions", "releases", "branches", "tags", "wiki", "merge_requests", "src"];

// {repo, branch, note}, or {wrong} with a sentence. `repo` is org/name or an address git can clone.
export function repositoryOf(text) {
  const given = text.trim();
  if (!given) return { repo: "", branch: "", note: "" };
  if (NAME.test(given)) return { repo: given.replace(/\.git$/, ""), branch: "", note: "" };
  const ssh = !/^https?:/i.test(given) && SSH.exec(given);
  const address = ssh ? `https://${ssh[1]}/${ssh[2].replace(/^\/+/, "")}` : /^[\w-]+(\.[\w-]+)+\/\S+$/.test(given) ? `https://${given}` : given;
  if (!/^https?:\/\//i.test(address) || !URL.canParse(address)) {
    return { wrong: "Name it as org/name, or by its address from https:// on." };
  }
  const url = new URL(address);
  if (url.username || url.password) return { wrong: "Leave the name and password out of the address: add GIT_TOKEN to the secrets instead." };
  const found = page(url);
  if (!found) return { wrong: "This address names no repository: it should go on, as in https://github.com/org/name." };
  const note = ssh ? "Cloned by https: this service has no key for ssh." : "";
  return { ...found, note: found.note || note };
}

function page(url) {
  const parts = url.pathname.split("/").filter(Boolean);
  if (parts.length === 0) return null;
  const dash = parts.indexOf("-"); // GitLab's pages are behind it, and its groups may be nested
  const at = dash > 0 ? dash : parts.findIndex((part, place) => place >= 2 && PAGES.includes(part));
  // On GitHub a repository has two names; elsewhere only what looks like a page is one.
  const onGitHub = url.hostname === "github.com" || url.hostname === "www.github.com";
  if (onGitHub && parts.length < 2) return null;
  const end = at > 0 && !parts.slice(0, at).some((part) => part.endsWith(".git")) ? at : onGitHub ? 2 : parts.length;
  const names = parts.slice(0, end);
  const rest = parts.slice(dash > 0 ? dash + 1 : end);
  const repo = onGitHub ? names.slice(0, 2).join("/").replace(/\.git$/, "") : `${url.protocol}//${url.host}/${names.join("/")}`;
  return { repo, ...branchOf(rest) };
}

// A % that encodes nothing is one.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function branchOf([kind, ...rest]) {
  if (kind === "src" && rest[0] === "branch") rest.shift(); // Gitea's
  if ((OF_BRANCH.includes(kind) || kind === "src") && rest.length) {
    const branch = decoded(rest[0]);
    const note = rest.length > 1 ? `Branch ${branch}, taken from the address: if its name goes on with /${rest[1]}, correct it.` : "";
    return { branch, note };
  }
  if (kind === "pull" || kind === "merge_requests") {
    return { branch: "", note: "The address doesn't say which branch the request is of: fill it in below if you want that one." };
  }
  return { branch: "", note: "" };
}
