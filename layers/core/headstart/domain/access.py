"""Who may use which private repositories of GitHub: the deployment's rules, decided by text alone.

The deployment's GitHub App sees more than a caller may. Rules give it to callers by their groups;
what no rule gives is used as anybody may use it, without the App.
"""

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, StringConstraints

from headstart.domain.errors import RepositoryForbidden
from headstart.domain.model import Model

EVERYBODY = "*"
GIT_TOKEN = "GIT_TOKEN"  # noqa: S105 - a name
"""The secret by which a session brings its own credential for git."""

RepositoryPattern = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9._*?-]+/[A-Za-z0-9._*?-]+$", max_length=140)
]
"""`org/name`; `*` is anything and `?` any character, each within its side of the slash."""


class AccessRule(Model):
    """The repositories that a group's members may use; the group `*` is everybody's."""

    group: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    repositories: Annotated[list[RepositoryPattern], Field(min_length=1, max_length=50)]


def groups_of(claim: object) -> frozenset[str]:
    """Return the groups that a claim names, however its issuer and API Gateway write them.

    An HTTP API hands a list over as the text `[a b]`. One text may also be a JSON list, names with
    spaces between them, or one name. So a name with a space in it is told apart in JSON alone.
    """
    if isinstance(claim, list):
        return frozenset(str(item) for item in claim if item)
    if not isinstance(claim, str):
        return frozenset()
    text = claim.strip()
    if text.startswith("[") and text.endswith("]"):
        try:
            # A name may look like a number.
            found = json.loads(text, parse_int=str, parse_float=str)
        except (ValueError, RecursionError):
            text = text[1:-1]
        else:
            return frozenset(item for item in found if item and isinstance(item, str))
    return frozenset(text.split())


def matches(patterns: Iterable[str], repository: str) -> bool:
    """Say whether one of the patterns names a repository, `org/name` in any case."""
    owner, _, name = repository.lower().partition("/")
    for pattern in patterns:
        of_owner, _, of_name = pattern.lower().partition("/")
        if fnmatchcase(owner, of_owner) and fnmatchcase(name, of_name):
            return True
    return False


def granted(
    rules: list[AccessRule], groups: frozenset[str], repository: str | None, *, own_token: bool
) -> list[str]:
    """Return the patterns of what a session on a repository may read with the App.

    All that its caller may, for a repository may need others: but only where the caller may use
    the repository itself, so that what a stranger published reads nothing private. `repository` is
    None for one of another host; `own_token` says that the session brings its own credential.
    Raises RepositoryForbidden for what the rules give to others only.
    """
    if repository is None:
        return []
    given = [p for r in rules if r.group in {EVERYBODY, *groups} for p in r.repositories]
    if matches(given, repository):
        return list(dict.fromkeys(given))
    if not own_token and any(matches(rule.repositories, repository) for rule in rules):
        raise RepositoryForbidden(
            f"{repository} is for members of other groups; a GIT_TOKEN of your own among "
            "encryptedSecrets opens what it is good for"
        )
    return []
