"""Which repositories may be asked for: decided by text alone, before anything resolves a name.

What a name resolves to is checked again where it is used, by the runner and the network rules.
"""

import ipaddress
import re
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, urlsplit

_GITHUB_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_URL_LIMIT = 2000
_BRANCH_LIMIT = 250
_CONTROL_OR_SPACE = re.compile(r"[\x00-\x20\x7f]")
_FORBIDDEN_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)")
_NUMERIC_HOST = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?")


def github_url(base_url: str, repo: str) -> str:
    """Return the clone URL of `org/name`; raises ValueError for anything else."""
    name = repo.partition("/")[2]
    if not _GITHUB_REPO.fullmatch(repo) or name in {".", ".."} or name.endswith(".git"):
        raise ValueError("must look like org/name")
    return f"{base_url.rstrip('/')}/{repo}.git"


def check_git_url(url: str, allowed_sources: list[str]) -> str:
    """Return the URL if it may be cloned; raises ValueError with the reason if not.

    https is always allowed except towards private addresses; anything else must match one of the
    deployment's `allowed_sources`, patterns such as `http://127.0.0.1:*`.
    """
    if len(url) > _URL_LIMIT:
        raise ValueError(f"must be at most {_URL_LIMIT} characters")
    if _CONTROL_OR_SPACE.search(url):
        raise ValueError("must not contain spaces or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError("is not a valid URL") from error
    if not parts.hostname or port == 0:
        raise ValueError("must name a host")
    if "@" in parts.netloc:
        raise ValueError("must not contain credentials")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or fragment")
    if parts.path in {"", "/"}:
        raise ValueError("must name a repository")
    if is_allowed_source(url, allowed_sources):
        return url
    if parts.scheme != "https":
        raise ValueError("must be an https URL")
    _refuse_private_host(parts)
    return url


def check_callback_url(url: str) -> str:
    """Return the URL if it is https without credentials; raises ValueError.

    The reason never quotes the URL: urlsplit's own may, password and all.
    """
    if _CONTROL_OR_SPACE.search(url):
        raise ValueError("must not contain spaces or control characters")
    try:
        parts = urlsplit(url)
        valid = parts.scheme == "https" and parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError("is not a valid URL") from None
    if not valid or "@" in parts.netloc:
        raise ValueError("must be an https URL without credentials")
    return url


def is_allowed_source(url: str, allowed_sources: list[str]) -> bool:
    """Say whether the deployment names this URL's origin as a source beside public https.

    A pattern is compared to `scheme://host:port` (the port always written) or, if it has a path,
    to the beginning of the URL's path too.
    """
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    origin = f"{parts.scheme}://{_bracketed(parts.hostname or '')}:{port}"
    for pattern in allowed_sources:
        allowed = urlsplit(pattern)
        netloc = allowed.netloc
        if not re.search(r":[0-9*]+$", netloc):
            netloc += {"http": ":80", "https": ":443"}.get(allowed.scheme, ":*")
        prefix = allowed.path.removesuffix("*").rstrip("/")
        under = not prefix or parts.path == prefix or parts.path.startswith(prefix + "/")
        if under and fnmatchcase(origin, f"{allowed.scheme}://{netloc}"):
            return True
    return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _refuse_private_host(parts: SplitResult) -> None:
    host = (parts.hostname or "").rstrip(".")
    if host == "localhost" or host.endswith((".localhost", ".internal", ".local")):
        raise ValueError("must not point to a private host")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # 127.1, 0x7f000001 and 2130706433 are addresses to some resolvers and names to none.
        if _NUMERIC_HOST.fullmatch(host.lower()):
            raise ValueError("must not be a numeric host") from None
        return
    if not address.is_global or address.is_multicast:
        raise ValueError("must not point to a private address")


def check_branch(name: str) -> str:
    """Return the branch name if `git check-ref-format --branch` would take it, else ValueError."""
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
