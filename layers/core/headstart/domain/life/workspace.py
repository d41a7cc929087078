"""What an attempt's workspace is made of: put back, adopted or cloned; and set up, once."""

from typing import Any

from headstart.domain.archive import Tree, said_file, words
from headstart.domain.attempt import Attempt
from headstart.domain.change import Change
from headstart.domain.commands import base_after_ms
from headstart.domain.errands import Measure
from headstart.domain.errors import RestoreFailed, StepError
from headstart.domain.life import saving
from headstart.domain.life.progress import milliseconds
from headstart.domain.sandbox import Command
from headstart.domain.session import Session
from headstart.domain.steps import StepName
from headstart.domain.tree import MOST_BYTES, ago, folder_of, said_commit
from headstart.domain.work import Beginning

_MOST_NOTES = 5
_PUT_BACK = "Put back as it was"


def begins_with(change: Change, step: StepName) -> str | None:
    """Say what a step does where its name says something else."""
    session = change.session
    if step is StepName.CLONE and session.put_back:
        return "Restoring the saved work"
    if step is StepName.SETUP and _has_no_commands(session):
        return "No setup commands: the workspace is saved for later sessions"
    return None


def _has_no_commands(session: Session) -> bool:
    return session.counts.get("setupCommands", 1) == 0


def why_skipped(change: Change, step: StepName) -> str | None:
    """Say why a step has nothing to do in this workspace, None where it has."""
    if step is StepName.BRANCH and change.attempt.adopted == "archive":
        return _PUT_BACK
    return _why_not_set_up(change) if step is StepName.SETUP else None


def _why_not_set_up(change: Change) -> str | None:
    session, attempt = change.session, change.attempt
    if session.set_up:
        match attempt.adopted:
            case "archive":
                return _PUT_BACK
            case "tree" if attempt.likeness:
                return f"Skipped: {attempt.likeness}"
        return f"Done in attempt {attempt.number - 1}"
    # After a slow clone a base is worth making though there is nothing to set up.
    is_slow = base_after_ms(session, attempt, change.policy) == 0
    return "No setup commands" if _has_no_commands(session) and not is_slow else None


def skipped(change: Change, step: StepName) -> None:
    """Note that a step had nothing to do."""
    if step is StepName.SETUP:
        change.session.set_up = True


def done(change: Change, command: Command) -> None:
    """Note what a step has made of the workspace."""
    if command.step is StepName.CLONE:
        _cloned(change, command.output)
    elif command.step is StepName.SETUP:
        change.session.set_up = True
        saving.ask_for_base(change, command, _tree(change, command.output))


def _cloned(change: Change, output: dict[str, Any]) -> None:
    session, attempt = change.session, change.attempt
    size = output.get("bytes")
    attempt.cloned_bytes = size if type(size) is int else None
    attempt.clone_cached = output.get("cached") is True
    attempt.commit = said_commit(output.get("commit"))
    if attempt.clone_cached:
        attempt.tree_key = None
        if session.began is None and output.get("adopted") != "archive":
            # Nobody waited any more when it was made: the attempt had been cancelled, or was over.
            session.began = _beginning(attempt, output)
        return  # what this sandbox had already, with all that was done to it
    attempt.adopted, attempt.likeness = None, None
    match output.get("adopted"):
        case "archive":
            attempt.adopted, attempt.tree_key = "archive", None
            return  # its branch began long ago
        case "tree" if attempt.tree:
            attempt.adopted, attempt.likeness = "tree", words(output.get("setup"))
            session.set_up = attempt.likeness is not None
            change.then(Measure("PreparedTreesAdopted"))
        case _:
            session.set_up = False
    session.began = _beginning(attempt, output)


def _beginning(attempt: Attempt, output: dict[str, Any]) -> Beginning:
    return Beginning(commit=attempt.commit, branch=words(output.get("defaultBranch")))


def _tree(change: Change, output: dict[str, Any]) -> Tree | None:
    """Return the prepared tree that the setup's base may be for later sessions.

    Nothing an agent did is in it. The base was made when the setup ended, before anything is
    delivered in this attempt, and its hash is told now: what is sent later can be nothing else. The
    attempt has a key only in a sandbox that was started for it, and only until another setup was
    asked for, or until the sandbox had a workspace already, or put an archive back.
    """
    session, attempt = change.session, change.attempt
    key, began = attempt.tree_key, attempt.step(StepName.SETUP).started_at or change.now
    file = said_file(output.get("base"), f"{folder_of(key)}{change.new_id('tree')}" if key else "")
    if key is None or file is None or attempt.commit is None or file.bytes > MOST_BYTES:
        return None
    took = milliseconds(began, change.now) - _time_of_base(output)
    took = max(0, took) + round(attempt.took(StepName.CLONE).total_seconds() * 1000)
    # One that began with a tree would have taken as long as that without it.
    before = attempt.adopted_tree.made_ms if attempt.adopted_tree else 0
    return Tree(
        key=key,
        file=file,
        commit=attempt.commit,
        branch=session.branch,
        made_ms=max(took, before),
        created_at=change.now,
        expires_at=change.now + change.policy.prepared_tree_life,
    )


def _time_of_base(output: dict[str, Any]) -> int:
    said = output["base"].get("elapsedMs")
    return max(0, said) if type(said) is int else 0


def in_words_of_cloud(change: Change, step: StepName, error: StepError) -> StepError:
    """Return an error with the way out, where the sandbox can't know of one."""
    if step is not StepName.CLONE or not isinstance(error, RestoreFailed):
        return error
    return RestoreFailed(
        f"{error.reason}; GET /sessions/{change.session.session_id}/archive has it, and a retry "
        "with withoutArchive starts without it"
    )


def summary(change: Change, step: StepName, output: dict[str, Any]) -> str | None:
    """Return what a step has made of the workspace, and the runner's own sentences about it."""
    match step:
        case StepName.CLONE:
            first = _PUT_BACK if output.get("adopted") == "archive" else _where(output)
            parts = [_of_tree(change, output), first]
        case StepName.SETUP:
            parts = [_skipped_before(output)]
        case _:
            parts = [_where(output)]
    said = output.get("notes")
    notes = [note for note in map(words, said if isinstance(said, list) else []) if note]
    return "; ".join(part for part in [*parts, *notes[:_MOST_NOTES]] if part) or None


def _skipped_before(output: dict[str, Any]) -> str | None:
    said = output.get("commands")
    commands = [c for c in said if isinstance(c, dict)] if isinstance(said, list) else []
    count = sum(command.get("skipped") is True for command in commands)
    return f"{count} of {len(commands)} skipped, they ran before" if count else None


def _of_tree(change: Change, output: dict[str, Any]) -> str | None:
    tree, fetched = change.attempt.adopted_tree, output.get("fetched")
    if tree is None:
        return None
    said = f"From a prepared tree of {ago(change.now - tree.created_at)}"
    if type(fetched) is not int or fetched < 0:
        return said
    return f"{said}, {fetched or 'no'} {'commit' if fetched == 1 else 'commits'} fetched"


def _where(output: dict[str, Any]) -> str | None:
    """Return which commit of which branch a clone or a checkout has come to."""
    if output.get("empty"):
        return "The repository is empty"
    branch = output.get("defaultBranch") or output.get("branch")
    if output.get("commit"):
        commit = str(output["commit"])[:12]
        return f"{branch} at {commit}" if branch else f"at {commit}"
    return f"{branch}, no commits yet" if output.get("branch") else None
