"""Which variables nobody may set for a session's commands and its agent."""

_NAMES_A_REPOSITORY = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
}
"""What would take git, in commands and under the agent, away from the clone (git(1))."""


def is_reserved(name: str) -> bool:
    """Return whether a variable is Headstart's own."""
    return name.upper().startswith("HEADSTART_")


def names_a_repository(name: str) -> bool:
    """Return whether a variable would have git work on another repository."""
    return name in _NAMES_A_REPOSITORY


_FOR_GIT = {"GIT_TOKEN", "GIT_USERNAME"}
_SETTLED = {"HOME", "PATH", "XDG_DATA_HOME"}


def is_for_git(name: str) -> bool:
    """Return whether a secret opens the git host: no command and no agent gets it."""
    return name in _FOR_GIT


def is_settled(name: str) -> bool:
    """Return whether a variable says where programs and their data are."""
    return name in _SETTLED
