"""Archives: a copy of the work is asked for, made, sent, looked for, and kept or dropped."""

from headstart.domain.archive import Archive, Copy, Kept, Tree, said_file, said_left_out, words
from headstart.domain.change import ARCHIVE, Change, RowKey, WorkingSet
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errands import (
    DropObject,
    KeepTree,
    LookForCopy,
    Measure,
    SendOrder,
    SendUpload,
)
from headstart.domain.sandbox import Command
from headstart.domain.work import CHANGES_BYTES, DIFF_BYTES, Beginning

BASE_GONE = "it builds on a base that is not kept any more"
"""Why a copy is of no use, though another one would be."""


def ask_for_copy(change: Change) -> None:
    """Ask for a copy of the work; the runner makes it before it takes the next prompt.

    It takes the place of a copy that was asked for before.
    """
    session, name = change.session, change.new_id("arc")
    session.saving, kept = name, session.put_back
    tree = change.attempt.adopted_tree
    base = kept.base if kept else tree.file.sha256 if tree else None
    command = Command(
        command_id=f"{name}.archive",
        kind=CommandKind.ARCHIVE,
        archive=name,
        attempt_number=session.attempt_number,
        args={"base": base, "began": (session.began or Beginning()).to_json()},
        created_at=change.now,
    )
    change.save(command)
    change.then(SendOrder(command.command_id))


def ask_for_upload(change: Change, made: Command) -> bool:
    """Ask for the upload of a copy that was made; False where its answer makes no sense."""
    folder, said = _folder(change, made.archive or ""), made.output
    base = said_file(said.get("base"), f"{folder}base")
    difference = said_file(said.get("difference"), f"{folder}difference")
    is_told = base is not None or said.get("base") is None
    base_sha = base.sha256 if base else made.args.get("base")
    if difference is None or base_sha is None or not is_told:
        return False
    kept, tree = change.session.put_back, change.attempt.adopted_tree
    is_new = base is None and (kept is None or kept.base != base_sha)
    source = tree.file if tree and is_new and tree.file.sha256 == base_sha else None
    if source is not None:
        base = source.model_copy(update={"key": f"{folder}base"})
    copy = Copy(
        base=base,
        source=source.key if source else None,
        difference=difference,
        changes=said_file(said.get("changes"), f"{folder}changes", CHANGES_BYTES),
        diff=said_file(said.get("diff"), f"{folder}diff", 2 * DIFF_BYTES),
        base_sha=base_sha,
        left_out=said_left_out(said.get("leftOut")),
        missing=words(said.get("missing")),
        asked_at=made.created_at,
    )
    _send(change, made.archive or "", copy)
    return True


def ask_for_base(change: Change, made: Command, tree: Tree | None) -> None:
    """Ask for the upload of the base that was made of a workspace just set up, if one was.

    Once it is kept it is a prepared tree too.
    """
    name = change.new_id("arc")
    base = said_file(made.output.get("base"), f"{_folder(change, name)}base")
    if base is not None:
        copy = Copy(base=base, base_sha=base.sha256, tree=tree, asked_at=made.created_at)
        _send(change, name, copy)


def _folder(change: Change, name: str) -> str:
    return f"{objects_of(change.session.session_id)}{name}/"


def objects_of(session_id: str) -> str:
    """Return what the keys of all objects of a session begin with."""
    return f"archives/{session_id}/"


def _send(change: Change, name: str, copy: Copy) -> None:
    command = Command(
        command_id=f"{name}.upload",
        kind=CommandKind.UPLOAD,
        archive=name,
        attempt_number=change.session.attempt_number,
        args=copy.to_json(),
        created_at=change.now,
    )
    change.save(command)
    change.then(SendUpload(command.command_id))


def uploaded(change: Change, command: Command) -> None:
    """Have it looked for what was said to be sent: only what is seen there is kept."""
    change.then(LookForCopy(command.command_id))


def forget(change: Change, command: Command) -> None:
    """Forget a command that is over, unless it sends a copy: the objects would have no name then.

    Such a one stays until it was looked for, and a deletion waits for it.
    """
    if command.kind is not CommandKind.UPLOAD:
        change.forget(command)


def drop(change: Change, command: Command) -> None:
    """Forget a copy that is not kept, and have its objects deleted, should there be any."""
    change.forget(command)
    for file in Copy.model_validate(command.args).files:
        change.then(DropObject(file.key))


def look_for_copies(change: Change) -> None:
    """Have all copies looked for of which nobody could say any more whether they were sent."""
    for command in change.commands.values():
        if command.kind is CommandKind.UPLOAD:
            change.then(LookForCopy(command.command_id))


def beside_a_copy(_: WorkingSet) -> list[RowKey]:
    """Name what an uploaded copy is compared with."""
    return [ARCHIVE]


def give_up_tree(change: Change, command: Command) -> str:
    """Drop a copy on a prepared tree that is gone: the next one comes with a base of its own."""
    drop(change, command)
    if command.attempt_number == change.session.attempt_number:
        change.attempt.tree = None
        change.save(change.attempt)
    return BASE_GONE


def keep(change: Change, command: Command, *, is_there: bool) -> str | None:
    """Make an uploaded copy the session's archive, if it was seen there whole; else say why not.

    What the archive before had, and this one has not, is not needed any more; or this one, where a
    later one has been faster.
    """
    session, copy = change.session, Copy.model_validate(command.args)
    is_present = command.attempt_number == session.attempt_number
    if not is_there:
        # One that this attempt's sandbox sends may arrive a moment later.
        if command.answered or not is_present:
            drop(change, command)
        said = "it was said to be sent and is not there"
        return said if command.answered else "it was not sent in time"
    before = change.get(ARCHIVE, Archive)
    archive = copy.upon(before)
    if archive is None:
        drop(change, command)
        return BASE_GONE
    if before and before.created_at > archive.created_at:
        drop(change, command)
        return None
    change.forget(command)
    change.save(archive)
    session.kept = Kept.of(archive)
    change.then(Measure("ArchiveBytes", sum(file.bytes for file in copy.files), unit="bytes"))
    if is_present:
        session.without_archive = False
    if copy.tree:
        # First: what it is copied from may be dropped soon.
        change.then(KeepTree(archive.base.key, copy.tree))
    needed = {file.key for file in archive.files}
    for file in before.files if before else []:
        if file.key not in needed:
            change.then(DropObject(file.key))
    return None
