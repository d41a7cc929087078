"""What an attempt's workspace is made of: put back, adopted or cloned; and set up, once."""

from typing import Any

from headstart.domain.archive import words
from headstart.domain.change import Change
from headstart.domain.commands import base_after_ms
from headstart.domain.errors import RestoreFailed, StepError
from headstart.domain.life import saving
from headstart.domain.sandbox import Command
from headstart.domain.steps import StepName

_MOST_NOTES = 5
_PUT_BACK = "Put back as it was"


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
    has_none = session.counts.get("setupCommands", 1) == 0
    return "No setup commands" if has_none and not is_slow else None


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
        saving.ask_for_base(change, command)


def _cloned(change: Change, output: dict[str, Any]) -> None:
    session, attempt = change.session, change.attempt
    size = output.get("bytes")
    attempt.cloned_bytes = size if type(size) is int else None
    attempt.clone_cached = output.get("cached") is True
    if attempt.clone_cached:
        return  # what this sandbox had already, with all that was done to it
    attempt.adopted, attempt.likeness = None, None
    match output.get("adopted"):
        case "archive":
            attempt.adopted = "archive"
        case "tree":
            attempt.adopted, attempt.likeness = "tree", words(output.get("setup"))
            session.set_up = attempt.likeness is not None
        case _:
            session.set_up = False


def in_words_of_cloud(change: Change, step: StepName, error: StepError) -> StepError:
    """Return an error with the way out, where the sandbox can't know of one."""
    if step is not StepName.CLONE or not isinstance(error, RestoreFailed):
        return error
    return RestoreFailed(
        f"{error.reason}; GET /sessions/{change.session.session_id}/archive has it, and a retry "
        "with withoutArchive starts without it"
    )


def clone_summary(output: dict[str, Any]) -> str | None:
    """Return a sentence about a clone, and the runner's own about what it is without."""
    said = output.get("notes")
    notes = [note for note in map(words, said if isinstance(said, list) else []) if note]
    first = _PUT_BACK if output.get("adopted") == "archive" else where(output)
    return "; ".join([*([first] if first else []), *notes[:_MOST_NOTES]]) or None


def where(output: dict[str, Any]) -> str | None:
    """Return which commit of which branch a clone or a checkout has come to."""
    if output.get("empty"):
        return "The repository is empty"
    branch = output.get("defaultBranch") or output.get("branch")
    if output.get("commit"):
        return f"{branch} at {str(output['commit'])[:12]}"
    return f"{branch}, no commits yet" if output.get("branch") else None
