"""What an archive is made of: a base, made once, and a difference on top of exactly that."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.archive import StoredFile
from headstart.domain.errors import ArchiveNotFound, ServiceUnavailable, SessionNotFound
from headstart.domain.session import Status
from headstart.domain.steps import StepName
from headstart.usecases.delete import delete_session
from headstart.usecases.read import get_archive
from tests.unit.archives import BASE, archive_of, differs, key_of, keys, last, make, put, save
from tests.unit.helpers import Runner, begin, created, prepared_up_to, running, turn_ended
from tests.unit.test_saving import asked_twice, next_turn
from tests.unit.test_sleep import falling, idle

OTHER = {"bytes": 9, "sha256": "other"}


def send(ports: MemoryPorts, runner: Runner) -> None:
    """Send the copy that was made last."""
    upload = last(runner, "upload")
    put(ports, upload)
    runner.complete(upload["id"])


def test_a_base_is_made_once_and_only_differences_are_sent_after_it(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    first = last(runner, "archive")
    assert (first["args"]["base"], first["args"]["maxBytes"]) == (None, 4_000_000_000)
    before = archive_of(ports, session_id)
    assert before.base.key == f"archives/{session_id}/{first['id'].partition('.')[0]}/base"
    next_turn(ports, runner)
    assert last(runner, "archive")["args"]["base"] == "base"
    make(runner, last(runner, "archive"), "newer")
    [file] = last(runner, "upload")["args"]["files"]
    assert key_of(file).endswith("/difference")
    send(ports, runner)
    after = archive_of(ports, session_id)
    assert after.base == before.base
    assert differs(ports, session_id) == "newer"
    assert set(ports.objects.stored) == keys(after)
    assert after.created_at > before.created_at
    sizes = [value for name, value, _ in ports.metrics.measured if name == "ArchiveBytes"]
    assert sizes == [sum(f.bytes for f in before.files), after.files[-1].bytes]


def test_a_bucket_out_of_reach_holds_no_turn_up_and_is_asked_again(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, runner = idle(ports)
    before = archive_of(ports, session_id)
    next_turn(ports, runner)
    make(runner, last(runner, "archive"), "newer")
    put(ports, last(runner, "upload"))

    def fails(_: StoredFile) -> bool:
        raise ServiceUnavailable("no bucket")

    with monkeypatch.context() as broken:
        broken.setattr(ports.objects, "is_there", fails)
        runner.new_frames()
        runner.complete(last(runner, "upload")["id"])
        assert [frame["type"] for frame in runner.new_frames()] == ["ack"]
        runner.beat()
    assert archive_of(ports, session_id) == before
    runner.beat()
    assert differs(ports, session_id) == "newer"


def test_another_base_replaces_the_one_before_and_its_difference(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    next_turn(ports, runner)
    save(ports, runner, base=OTHER)
    assert archive_of(ports, session_id).base.sha256 == "other"
    assert set(ports.objects.stored) == keys(archive_of(ports, session_id))
    next_turn(ports, runner)
    assert last(runner, "archive")["args"]["base"] == "other"


def test_a_difference_on_a_base_that_is_not_kept_any_more_is_made_anew(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    next_turn(ports, runner)
    first = last(runner, "archive")
    next_turn(ports, runner)
    second = last(runner, "archive")
    make(runner, first, "on other", base=OTHER)
    send(ports, runner)
    make(runner, second, "on base", base=None)
    send(ports, runner)
    assert differs(ports, session_id) == "on other"
    assert set(ports.objects.stored) == keys(archive_of(ports, session_id))
    assert last(runner, "archive")["args"]["base"] == "other"
    make(runner, last(runner, "archive"), "on other, too")
    send(ports, runner)
    assert differs(ports, session_id) == "on other, too"
    assert ports.store.session(session_id).saving is None


@pytest.mark.parametrize("lost", ["base", "difference"])
def test_a_copy_is_kept_with_all_its_files_or_not_at_all(ports: MemoryPorts, lost: str) -> None:
    runner, _, second = asked_twice(ports)
    make(runner, second)
    upload = last(runner, "upload")
    put(ports, upload)
    for key in [key for key in ports.objects.stored if key.endswith(f"/{lost}")]:
        del ports.objects.stored[key]
    runner.complete(upload["id"])
    assert ports.store.archive(runner.session_id) is None
    assert ports.objects.stored == {}


def test_nonsense_beside_a_good_copy_costs_itself_only(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    next_turn(ports, runner)
    save(ports, runner, leftOut={"no": "list"}, missing=7)
    kept = archive_of(ports, session_id)
    assert (kept.base.sha256, kept.left_out.named(), kept.missing) == ("base", [], None)


def test_a_difference_on_who_knows_what_is_not_sent(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    before = last(runner, "upload")
    next_turn(ports, runner)
    make(runner, last(runner, "archive"), base={"bytes": "9", "sha256": "other"})
    assert last(runner, "upload") == before
    assert ports.store.session(session_id).saving is None


def test_a_base_of_a_workspace_just_set_up_is_an_archive_of_its_own(ports: MemoryPorts) -> None:
    session_id = created(ports, setupCommands=["x"])
    runner = prepared_up_to(ports, session_id, StepName.SETUP)
    begin(ports, session_id, StepName.SETUP)
    asked_at = ports.clock()
    ports.clock.advance(seconds=20)
    runner.complete(last(runner, "setup")["id"], commands=[], base={**BASE, "elapsedMs": 7})
    [file] = last(runner, "upload")["args"]["files"]
    assert key_of(file).endswith("/base")
    send(ports, runner)
    kept = archive_of(ports, session_id)
    assert (kept.base.sha256, kept.difference, kept.created_at) == ("base", None, asked_at)
    session = ports.store.session(session_id)
    assert (session.status, session.saving) == (Status.PREPARING, None)
    assert session.kept
    assert session.kept.base == "base"


@pytest.mark.parametrize("base", [None, "base", {"bytes": -1, "sha256": "x"}, {"sha256": "x"}])
def test_a_setup_without_a_base_of_sense_sends_none(ports: MemoryPorts, base: object) -> None:
    session_id = created(ports, setupCommands=["x"])
    runner = prepared_up_to(ports, session_id, StepName.SETUP)
    token = begin(ports, session_id, StepName.SETUP)
    runner.complete(last(runner, "setup")["id"], commands=[], base=base)
    assert not [frame for frame in runner.frames() if frame.get("kind") == "upload"]
    assert ports.machine.answers[token] == "ok"


def test_the_base_of_a_setup_that_arrives_late_does_not_replace_a_copy(ports: MemoryPorts) -> None:
    session_id = created(ports, setupCommands=["x"])
    runner = prepared_up_to(ports, session_id, StepName.SETUP)
    begin(ports, session_id, StepName.SETUP)
    runner.complete(last(runner, "setup")["id"], commands=[], base=BASE)
    late = last(runner, "upload")
    begin(ports, session_id, StepName.AGENT)
    runner.complete("1.agent.1")
    begin(ports, session_id, StepName.DELIVER)
    runner.complete(last(runner, "prompt")["id"], agentMessageId="msg_1")
    ports.clock.advance(seconds=5)
    runner.report(turn_ended(ports, session_id))
    save(ports, runner)
    put(ports, late)
    runner.complete(late["id"])
    assert differs(ports, session_id) == "hash"
    assert set(ports.objects.stored) == keys(archive_of(ports, session_id))


def test_what_is_saved_can_be_had_in_every_status_but_deleting(ports: MemoryPorts) -> None:
    session_id, runner = falling(ports)
    said = get_archive(ports, "alice", session_id)
    kept = archive_of(ports, session_id)
    assert said["base"] == {"url": f"https://objects.test/{kept.base.key}", **BASE}
    assert (said["difference"]["bytes"], said["difference"]["sha256"]) == (7, "hash")
    assert (said["leftOut"], said["missing"]) == ([], None)
    save(ports, runner, missing="the agent's session")
    assert get_archive(ports, "alice", session_id)["missing"] == "the agent's session"
    for status in set(Status) - {Status.DELETING}:
        ports.store.sets[session_id].session.status = status
        assert get_archive(ports, "alice", session_id)["base"]["sha256"] == "base"
    with pytest.raises(SessionNotFound):
        get_archive(ports, "mallory", session_id)
    delete_session(ports, "alice", session_id)
    with pytest.raises(SessionNotFound):
        get_archive(ports, "alice", session_id)


def test_where_nothing_is_saved_there_is_no_archive(ports: MemoryPorts) -> None:
    session_id = created(ports)
    running(ports, session_id)
    with pytest.raises(ArchiveNotFound):
        get_archive(ports, "alice", session_id)
