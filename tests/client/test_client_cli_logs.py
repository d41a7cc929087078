"""`headstart logs`: what the steps' commands printed, on the fake cloud."""

import pytest
from fake_headstart import SESSION_ID, FakeSession, page

from headstart_client import cli
from headstart_client.arguments import parser

pytestmark = pytest.mark.usefixtures("environment")


def log(step: str, attempt: int = 1, **more: object) -> dict[str, object]:
    ref = f"log.{attempt}.{step}"
    said = {"attemptNumber": attempt, "step": step, "ref": ref, "bytes": 4, "complete": True}
    return said | more


def test_logs_of_the_last_attempt_are_printed_whole(cloud, capsys):
    session = cloud.add(FakeSession())
    session.logs = [log("setup"), log("clone", 2), log("setup", 2)]
    session.texts |= {
        "log.1.setup": [page("old\n")],
        "log.2.clone": [page("Cloning…")],
        "log.2.setup": [page("one\n", cursor="a"), page("\x1b[31mtwo\n", offset=4)],
    }
    assert cli.main(["logs", SESSION_ID]) == 0
    assert capsys.readouterr() == (
        "== clone, attempt 2 ==\nCloning…\n== setup, attempt 2 ==\none\n\x1b[31mtwo\n",
        "",
    )
    assert cli.main(["logs", SESSION_ID, "setup", "--attempt", "1"]) == 0
    assert capsys.readouterr().out == "old\n"
    assert cli.main(["logs", SESSION_ID, "agent"]) == 1
    assert capsys.readouterr().err == (
        "headstart: There is no such log; there are: setup (attempt 1), clone (attempt 2), "
        "setup (attempt 2).\n"
    )


def test_a_log_on_a_terminal_can_not_drive_it(cloud, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    session = cloud.add(FakeSession(logs=[log("setup")]))
    session.texts["log.1.setup"] = [page("\x1b[2Jone\n")]
    assert cli.main(["logs", SESSION_ID, "setup"]) == 0
    assert capsys.readouterr().out == "one\n"


def test_a_log_is_followed_to_its_end(cloud, capsys, monkeypatch):
    monkeypatch.setattr("headstart_client.commands.texts._PAUSE", 0.0)
    session = cloud.add(FakeSession(logs=[log("setup", complete=False)]))
    pages = [
        page("one\n", cursor="a", complete=False),
        page(cursor="a", complete=False),
        page("two\n", offset=4, cursor="b", complete=False),
        page("", offset=8, truncated=True),
    ]
    session.texts["log.1.setup"] = pages[:2]
    assert cli.main(["logs", SESSION_ID, "setup"]) == 0
    assert capsys.readouterr() == (
        "one\n",
        "The log of setup goes on: --follow waits for the rest\n",
    )
    session.texts["log.1.setup"] = pages
    assert cli.main(["logs", SESSION_ID, "setup", "--follow"]) == 0
    assert capsys.readouterr() == (
        "one\ntwo\n",
        "Something of the log of setup is gone: it was too long, or its sandbox ended\n",
    )


def test_logs_are_followed_until_nothing_is_prepared_any_more(cloud, capsys, monkeypatch):
    monkeypatch.setattr("headstart_client.commands.texts._PAUSE", 0.0)
    session = cloud.add(FakeSession(status="preparing", logs=[log("clone")]))
    session.texts |= {"log.1.clone": [page("one\n")], "log.1.setup": [page("two\n")]}
    answer = cloud.answer

    def answered_once(seen):
        reply = answer(seen)
        if seen.path.endswith("/logs"):
            session.logs, session.status = [log("clone"), log("setup")], "ready"
        return reply

    monkeypatch.setattr(cloud, "answer", answered_once)
    assert cli.main(["logs", SESSION_ID, "--follow"]) == 0
    assert capsys.readouterr().out == ("== clone, attempt 1 ==\none\n== setup, attempt 1 ==\ntwo\n")


def test_logs_right_after_a_retry_are_those_of_the_new_attempt_to_its_end(
    cloud, capsys, monkeypatch
):
    monkeypatch.setattr("headstart_client.commands.texts._PAUSE", 0.0)
    # As a retry leaves it at once: another attempt, and nothing of it yet.
    session = cloud.add(FakeSession(status="preparing", attempt=2, logs=[log("setup")]))
    session.texts["log.1.setup"] = [page("old\n")]
    session.texts["log.2.setup"] = [
        page("new\n", cursor="a", complete=False),
        page("newer\n", offset=4),
    ]
    answer, looks = cloud.answer, iter(range(100))

    def answered_in_time(seen):
        reply = answer(seen)
        if seen.path.endswith("/logs"):
            look = next(looks)
            if look == 2:
                session.logs = [log("setup"), log("setup", 2, complete=False)]
            if look == 4:
                session.status = "ready"
        return reply

    monkeypatch.setattr(cloud, "answer", answered_in_time)
    assert cli.main(["logs", SESSION_ID, "--follow"]) == 0
    assert capsys.readouterr().out == "== setup, attempt 2 ==\nnew\nnewer\n"
    assert next(looks) > 4


@pytest.mark.parametrize(
    ("arguments", "name", "found"),
    [
        (["logs", "ses_1", "--follow", "setup"], "step", "setup"),
        (["logs", "ses_1", "--attempt", "1", "agent"], "step", "agent"),
        (["send", "ses_1", "--json", "text"], "prompt", "text"),
        (["send", "ses_1", "--json", "-"], "prompt", "-"),
        (["send", "ses_1", "--json", "--", "-x"], "prompt", "-x"),
    ],
)
def test_options_may_stand_between_arguments(arguments, name, found):
    assert getattr(parser().parse_args(arguments), name) == found


def test_the_log_of_a_step_that_a_retry_did_not_do_again_is_that_of_the_attempt_before(
    cloud, capsys
):
    session = cloud.add(FakeSession(logs=[log("clone"), log("setup"), log("setup", 2)]))
    session.texts |= {"log.1.clone": [page("Cloning…")], "log.2.setup": [page("again\n")]}
    assert cli.main(["logs", SESSION_ID, "clone"]) == 0
    assert capsys.readouterr().out == "Cloning…\n"
    assert cli.main(["logs", SESSION_ID, "clone", "--follow"]) == 0
    assert capsys.readouterr().out == "Cloning…\n"
    assert cli.main(["logs", SESSION_ID]) == 0
    assert capsys.readouterr().out == "== setup, attempt 2 ==\nagain\n"
