"""Which repositories may be asked for: decided by text alone, before anything resolves a name.

What a name resolves to is checked again where it is used, by the runner and the network rules.
"""

import ipaddress
import re
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, unquote, urlsplit

# The underscore is in the names of GitHub Enterprise's managed users.
_GITHUB_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}/[A-Za-z0-9._-]{1,100}")
_URL_LIMIT = 2000
_BRANCH_LIMIT = 250
_PORTS = {"http": 80, "https": 443}
_HEADS = "refs/heads/"
_CONTROL_OR_SPACE = re.compile(r"[\x00-\x20\x7f]")
_FORBIDDEN_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)")
_PLAIN_PATH = re.compile(
    r"(?:/(?:[A-Za-z0-9._~!$&'()*+,=:@-]"
    r"|%(?!2[35F]|3[BF]|5C|7F|[01])[0-9A-F]{2})+)+/?",
    re.ASCII | re.IGNORECASE,
)
"""RFC 3986's `pchar` (3.3) but for `;`, and escapes of no control and none of `# % / ; ? \\`."""

_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
_NUMERIC_HOST = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?")


def github_url(base_url: str, repo: str) -> str:
    """Return the clone URL of `org/name`; raises ValueError for anything else."""
    name = repo.partition("/")[2]
    if not _GITHUB_REPO.fullmatch(repo) or name in {".", ".."} or name.endswith(".git"):
        raise ValueError("must look like org/name; a whole address goes into gitUrl")
    return f"{base_url.rstrip('/')}/{repo}.git"


def github_api(base_url: str, git_url: str) -> str | None:
    """Return where GitHub's REST API for a repository is, None for one of another host.

    A server of one's own has it under /api/v3 (docs.github.com, "REST API endpoints", enterprise).
    """
    if not same_server(base_url, git_url):
        return None
    if urlsplit(base_url).hostname == "github.com":
        return "https://api.github.com"
    return f"{base_url.rstrip('/')}/api/v3"


def check_git_url(url: str, allowed_sources: list[str], github: str) -> str:
    """Return the URL of a repository that may be cloned, scheme and host in lower case.

    https is always allowed except towards private addresses; anything else must match one of the
    deployment's `allowed_sources`, patterns such as `http://127.0.0.1:*`. Raises ValueError with a
    reason that quotes nothing; `github` is the address that `githubRepo` is relative to.
    """
    if len(url) > _URL_LIMIT:
        raise ValueError(f"must be at most {_URL_LIMIT} characters")
    parts = _split(url)
    if parts.scheme not in _PORTS:
        raise ValueError("must be an https URL, such as https://github.com/org/name")
    if "@" in parts.netloc:
        raise ValueError("must not contain credentials")
    _check_host(parts)
    if not parts.path.strip("/"):
        raise ValueError("must name a repository")
    if has_dot_segments(parts.path):
        raise ValueError("must not have . or .. in its path")
    if not is_plain_path(parts.path):
        raise ValueError("must have a plain path: what is no letter, digit or usual sign as %XX")
    _refuse_page(parts, urlsplit(github))
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or fragment")
    clean = parts._replace(netloc=parts.netloc.lower()).geturl()
    if is_allowed_source(clean, allowed_sources):
        return clean
    if parts.scheme != "https":
        raise ValueError("must be an https URL")
    _refuse_private_host(parts)
    return clean


def check_target(url: str, *, public: bool = False) -> SplitResult:
    """Return the parts of an address to call that has no credentials in it.

    A `public` one is https and names no private host. Raises ValueError, quoting nothing.
    """
    parts = _split(url)
    if parts.scheme not in _PORTS or "@" in parts.netloc:
        raise ValueError("must be an https URL without credentials")
    _check_host(parts)
    if public:
        if parts.scheme != "https":
            raise ValueError("must be an https URL without credentials")
        _refuse_private_host(parts)
    return parts


def _split(url: str) -> SplitResult:
    if _CONTROL_OR_SPACE.search(url):
        raise ValueError("must not contain spaces or control characters")
    try:
        return urlsplit(url)
    except ValueError:  # its own words may quote the URL, password and all
        raise ValueError("is not a valid URL") from None


def _check_host(parts: SplitResult) -> None:
    try:
        named = parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError("is not a valid URL") from None
    if not named:
        raise ValueError("must be a whole address, with a host in it")
    # What else there is, full-width digits or %31, some resolvers take for other names.
    if not _HOST.fullmatch(parts.hostname or ""):
        raise ValueError("must name its host in plain ASCII, an international name as xn--…")


def has_dot_segments(path: str) -> bool:
    """Say whether a server may leave the path's folders on its way, whatever it decodes."""
    while (decoded := unquote(path)) != path:
        path = decoded
    return any(name.partition(";")[0] in {".", ".."} for name in re.split(r"[/\\]", path))


def is_plain_path(path: str) -> bool:
    """Say whether all who read a path read the same repository in it, whatever they decode."""
    try:
        unquote(path, errors="strict")
    except UnicodeDecodeError:
        return False
    return bool(_PLAIN_PATH.fullmatch(path)) and not has_dot_segments(path)


_OF_BRANCH = {"tree", "blob", "commits", "edit", "raw", "blame"}
"""Pages of GitHub whose address names a branch, or a tag or a commit, next."""


def _refuse_page(parts: SplitResult, github: SplitResult) -> None:
    """Refuse what a browser shows about a repository of GitHub: git finds nothing there.

    What is quoted is the name of a repository and of a branch, and nothing that is none.
    """
    base = github.geturl().rstrip("/")
    names = [name for name in parts.path.removeprefix(github.path.rstrip("/")).split("/") if name]
    if _origin(parts) != _origin(github) or not names or len(names) == 2:
        return
    said = f"must be the address of a repository, {base}/org/name"
    if len(names) < 2 or not _GITHUB_REPO.fullmatch("/".join(names[:2])):
        raise ValueError(f"{said}; a branch goes into upstreamBranch")
    instead = f"is a page about a repository: give {base}/{names[0]}/{names[1]}"
    branch = unquote(names[3]) if len(names) > 3 and names[2] in _OF_BRANCH else None
    try:
        more = f", and {check_branch(branch)} as upstreamBranch" if branch else None
    except ValueError:
        more = None
    raise ValueError(instead + (more or "; a branch of it goes into upstreamBranch"))


def is_allowed_source(url: str, allowed_sources: list[str]) -> bool:
    """Say whether the deployment names this URL's origin as a source beside public https.

    A pattern is compared to `scheme://host:port` (the port always written) or, if it has a path,
    to the beginning of the URL's path too.
    """
    parts = urlsplit(url)
    if has_dot_segments(parts.path):
        return False
    for pattern in allowed_sources:
        allowed = urlsplit(pattern)
        netloc = allowed.netloc.lower().replace("[", "[[]")
        if not re.search(r":[0-9*]+$", netloc):
            netloc += f":{_PORTS.get(allowed.scheme, '*')}"
        prefix = allowed.path.removesuffix("*").rstrip("/")
        under = not prefix or parts.path == prefix or parts.path.startswith(prefix + "/")
        if under and fnmatchcase(_origin(parts), f"{allowed.scheme}://{netloc}"):
            return True
    return False


def repository_of(url: str, github: str) -> str | None:
    """Return `org/name` of a repository at GitHub's address, None for one that is elsewhere."""
    parts, base = urlsplit(url), urlsplit(github)
    path, root = unquote(parts.path), base.path.rstrip("/")
    if _origin(parts) != _origin(base) or not path.startswith(f"{root}/"):
        return None
    names = [name for name in path.removeprefix(root).split("/") if name]
    if len(names) != 2:
        return None
    name = names[1][:-4] if names[1].lower().endswith(".git") else names[1]
    return f"{names[0]}/{name}"


def repository_at(host: str, path: str, github: str) -> str | None:
    """Return a path at a host, as a runner names it, if it is a repository at GitHub's address."""
    parts = urlsplit(github)
    port = parts.port or _PORTS.get(parts.scheme, 0)
    is_there = host.lower() in {parts.netloc.lower(), f"{parts.hostname}:{port}"}
    return path if is_there and _GITHUB_REPO.fullmatch(path) else None


def same_server(one: str, other: str) -> bool:
    """Say whether two addresses have scheme, host and port in common."""
    return _origin(urlsplit(one)) == _origin(urlsplit(other))


def _origin(parts: SplitResult) -> str:
    host = parts.hostname or ""
    bracketed = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{bracketed}:{parts.port or _PORTS.get(parts.scheme, 0)}"


def _refuse_private_host(parts: SplitResult) -> None:
    host = (parts.hostname or "").rstrip(".")
    if host == "localhost" or host.endswith((".localhost", ".internal", ".local")):
        raise ValueError("must not point to a private host")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # 127.1, 0x7f000001 and 2130706433 are addresses to some resolvers and names to none.
        if _NUMERIC_HOST.fullmatch(host):
            raise ValueError("must not be a numeric host") from None
        return
    if not address.is_global or address.is_multicast:
        raise ValueError("must not point to a private address")


def check_branch(name: str) -> str:
    """Return the branch name if `git check-ref-format --branch` would take it, else ValueError.

    `refs/heads/` in front of it, as git itself writes it, is left out.
    """
    name = name.removeprefix(_HEADS)
    if (
        not name
        or len(name.encode()) > _BRANCH_LIMIT
        or name.startswith(("-", ".", "/"))
        or name.endswith((".", "/"))
        or name in {"@", "HEAD"}
        or _FORBIDDEN_IN_REF.search(name)
    ):
        raise ValueError("is not a valid branch name")
    return name
