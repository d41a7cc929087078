"""Repositories within the repository: named, or fetched too where that is wanted."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from headstart.domain.errors import DiskFull, GitNetworkError, RepositoryRefused, StepError
from headstart.domain.repository import check_git_url, is_allowed_source
from headstart_runner.repository.git import Git, complaint
from headstart_runner.repository.remote import Remote
from headstart_runner.repository.words import shown, some

_PATH = re.compile(r"submodule\.(.*)\.path\n(.*)", re.DOTALL)
_LINK = "160000 "
_GITHUB = "https://github.com"
_DEEPEST = 8
"""How many submodules lie within one another: a repository may be its own."""


async def fetch(remote: Remote, repository: Path, *, wanted: bool, depth: int = 0) -> list[str]:
    """Fetch the submodules, and theirs, if they are wanted; return notes about what is not there.

    Each comes from an address that its repository could come from: public and https, or on the same
    server. One that can't be had is noted; GitNetworkError and DiskFull are raised.
    """
    git = remote.git
    found = await _named(git, repository)
    if not found:
        return []
    if not wanted or depth == _DEEPEST:
        one = "1 submodule is" if len(found) == 1 else f"{len(found)} submodules are"
        how = "clone.submodules fetches them" if not wanted else "they lie too deep"
        return [f"{one} not fetched: {some([*found], 'and')} ({how})"]
    begun = await git.run("submodule", "--quiet", "init", cwd=repository)
    if begun.code != 0:
        return [f"The submodules are not fetched: {complaint(begun.stderr)}"]
    notes = []
    for path, name in found.items():
        remote.watch.show(f"Fetching the submodule {shown(path)}", None)
        try:
            inner = await _update(remote, repository, name, path)
        except (GitNetworkError, DiskFull):
            raise
        except StepError as error:
            notes.append(f"The submodule {shown(path)} is not fetched: {error.reason}")
            continue
        notes += await fetch(inner, repository / path, wanted=True, depth=depth + 1)
    return notes


async def _named(git: Git, repository: Path) -> dict[str, str]:
    """Return the names of the submodules that there are by their paths."""
    if not (repository / ".gitmodules").exists():
        return {}
    what = ("--blob", "HEAD:.gitmodules", "--null", "--get-regexp", r"^submodule\..*\.path$")
    told = await git.run("config", *what, cwd=repository)
    named = {m[2]: m[1] for entry in told.stdout.split("\0") if (m := _PATH.fullmatch(entry))}
    if not named:
        return {}
    there = await git.run(
        *("--literal-pathspecs", "ls-files", "--stage", "-z", "--", *named), cwd=repository
    )
    links = {e.partition("\t")[2] for e in there.stdout.split("\0") if e.startswith(_LINK)}
    return {path: name for path, name in named.items() if path in links}


async def _update(remote: Remote, repository: Path, name: str, path: str) -> Remote:
    git, setting = remote.git, f"submodule.{name}.url"
    told = await git.run("config", "--get", setting, cwd=repository)
    parts = urlsplit(remote.url)
    allowed = [f"{parts.scheme}://{parts.netloc}"] if remote.allow_private else []
    try:
        url = check_git_url(told.stdout.removesuffix("\n"), allowed, _GITHUB)
    except ValueError as error:
        raise RepositoryRefused(f"its address {error}") from error
    await git.must("config", setting, url, cwd=repository)
    inner = await Remote.at(git, url, remote.watch, allow_private=is_allowed_source(url, allowed))
    done = await inner.run(
        *("--literal-pathspecs", "submodule", "update", "--init", "--no-recommend-shallow"),
        *("--progress", "--filter=blob:none", "--", path),
        cwd=repository,
    )
    if done.code != 0:
        raise inner.error(done)
    return inner
