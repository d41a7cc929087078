"""Pull requests of a repository: docs.github.com, "REST API endpoints for pull requests"."""

import subprocess
from typing import Any

from tests.github.app import Json, Refusal, Repository

_RESOURCE = "PullRequest"


def listed(repository: Repository, query: dict[str, str]) -> list[Json]:
    """Return those of a state (open, where none is named), a head and a base; newest first."""
    state, head, base = query.get("state", "open"), query.get("head"), query.get("base")
    return [
        pull
        for pull in reversed(repository.pulls)
        if state in ("all", pull["state"])
        and (head is None or head.lower() == pull["head"]["label"].lower())
        and (base is None or base == pull["base"]["ref"])
    ]


def create(repository: Repository, url: str, asked: Json) -> Json:
    """Open one."""
    for name in ("head", "base", "title"):
        if not asked.get(name):
            raise _invalid(code="missing_field", field=name)
    owner, _, branch = asked["head"].rpartition(":")
    base = asked["base"]
    if owner and owner.lower() != repository.owner.lower():
        raise _invalid(code="invalid", field="head")
    head_commit, base_commit = _commit(repository, branch), _commit(repository, base)
    if base_commit is None:
        raise _invalid(code="invalid", field="base")
    if head_commit is None:
        raise _invalid(code="invalid", field="head")
    if repository.folder is not None and not _ahead(repository, base_commit, head_commit):
        raise _invalid(code="custom", message=f"No commits between {base} and {branch}")
    label = f"{repository.owner}:{branch}"
    if listed(repository, {"head": label, "base": base}):
        raise _invalid(code="custom", message=f"A pull request already exists for {label}.")
    number = len(repository.pulls) + 1
    made = {
        "id": repository.id * 1000 + number,
        "number": number,
        "state": "open",
        "locked": False,
        "title": asked["title"],
        "body": asked.get("body"),
        "draft": bool(asked.get("draft", False)),
        "merged": False,
        "merged_at": None,
        "closed_at": None,
        "html_url": f"{url}/{repository.name}/pull/{number}",
        "head": {"ref": branch, "label": label, "sha": head_commit},
        "base": {"ref": base, "label": f"{repository.owner}:{base}", "sha": base_commit},
    }
    repository.pulls.append(made)
    return made


def get(repository: Repository, number: int) -> Json:
    """Return one, its head as the branch stands now."""
    if not 1 <= number <= len(repository.pulls):
        raise Refusal(404, "Not Found")
    pull: Json = repository.pulls[number - 1]
    if pull["state"] == "open" and (now := _commit(repository, pull["head"]["ref"])):
        pull["head"]["sha"] = now
    return pull


def update(repository: Repository, number: int, asked: Json) -> Json:
    """Change title, body, base or state."""
    pull = get(repository, number)
    state = asked.get("state", pull["state"])
    if state not in ("open", "closed"):
        raise _invalid(code="invalid", field="state")
    if state == "open" and pull["merged"]:
        raise _invalid(code="invalid", field="state", message="state cannot be changed.")
    if "base" in asked:
        if pull["state"] == "closed":
            raise _invalid(
                code="custom", message="Cannot change base branch of closed pull request"
            )
        pull["base"]["ref"] = asked["base"]
    pull["state"] = state
    pull.update({name: asked[name] for name in ("title", "body") if name in asked})
    return pull


def end(repository: Repository, number: int, *, merged: bool) -> None:
    """Close one, or merge it, as people do on GitHub's page."""
    now = "2026-01-01T00:00:00Z"
    pull = get(repository, number)
    pull.update(state="closed", closed_at=now, merged=merged, merged_at=now if merged else None)


def _invalid(**error: Any) -> Refusal:
    return Refusal(422, "Validation Failed", errors=[{"resource": _RESOURCE, **error}])


def _commit(repository: Repository, branch: str) -> str | None:
    if repository.folder is None:
        return "0" * 40
    return _git(repository, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}") or None


def _ahead(repository: Repository, base: str, head: str) -> bool:
    return _git(repository, "rev-list", "--count", f"{base}..{head}") != "0"


def _git(repository: Repository, *arguments: str) -> str:
    asked = ["git", "-c", "safe.directory=*", "-C", str(repository.folder), *arguments]
    return subprocess.run(asked, check=False, capture_output=True, text=True).stdout.strip()
