"""The commands about sessions, their logs and texts, on the fake cloud."""

import json
import re
from typing import Any

import pytest
from cli_kit import FAILURE, RUN, command_line, lines
from fake_headstart import NOW, SESSION_ID, FakeSession, page
from session_scripts import good_session, good_start, preparing, receipt

from headstart_client import cli, watching
from headstart_client.follow import Timing
from headstart_client.text import plain

pytestmark = pytest.mark.usefixtures("environment")

SENT = {"messageId": "msg_1", "position": 1}


def test_ls_lists_the_newest_and_says_that_there_are_more(cloud, capsys):
    for number in range(25):
        cloud.add(FakeSession(session_id=f"ses_{number:02}", title=f"Title {number}"))
    assert cli.main(["ls"]) == 0
    out, err = capsys.readouterr()
    # The fake lists them in the order in which they were added.
    assert [row.split("\t")[0] for row in out.splitlines()] == [
        f"ses_{number:02}" for number in reversed(range(20))
    ]
    assert err == "There are more than 20 sessions: --all lists all of them\n"
    assert cli.main(["ls", "--all"]) == 0
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), err) == (25, "")
    assert cloud.requests("GET", "/sessions")[-1].query["limit"] == ["100"]
    assert cli.main(["ls", "--search", "title 2", "--repo", "https://r", "--limit", "1"]) == 0
    assert capsys.readouterr().out.split("\t")[0] == "ses_02"
    asked = cloud.requests("GET", "/sessions")[-1].query
    assert asked == {"search": ["title 2"], "repository": ["https://r"], "limit": ["2"]}


def test_ls_says_on_a_terminal_who_waits_for_an_answer(cloud, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    cloud.add(FakeSession(status="running", pending_inputs=[{"requestId": "p"}]))
    assert cli.main(["ls"]) == 0
    assert plain(capsys.readouterr().out).split()[1:3] == ["asks", "you"]


def test_show_says_all_and_what_to_do(cloud, capsys):
    session = cloud.add(FakeSession(status="failed", failure=FAILURE))
    session.steps["setup"] = {
        "status": "failed",
        "startedAt": NOW,
        "endedAt": NOW,
        "message": "It \x1b[31mfailed",
    }
    cloud.prompt = "Say hello\n\n  and \x1b[2Jmore\n"
    assert cli.main(["show", SESSION_ID]) == 0
    assert (
        re.sub(r"2026-\S+ \S+", "WHEN", capsys.readouterr().out)
        == lines(
            f"""
        session    {SESSION_ID}
        title      Say hello
        status     failed
        created    WHEN
        repository https://example.com/r.git, branch session-x
        agent      demo code
        attempt    1, created, running
        step       Running setup commands: failed, 0.0 s: It failed
        message    held  msg_1
          > Say hello
          >
          >   and more
        Running setup commands failed: `npm ci` exited with status 1 (SetupCommandFailed); """
            f"""repair the command: `headstart retry {SESSION_ID} --setup CMD`.
        """
        ).replace("\n        ", "\n")
        + "\n"
    )
    assert cli.main(["show", SESSION_ID, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sessionId"] == SESSION_ID


def test_show_says_what_releases_what_is_held(cloud, capsys):
    cloud.add(FakeSession(status="asleep", queue=[{"messageId": "msg_1", "status": "held"}]))
    assert cli.main(["show", SESSION_ID]) == 0
    assert f"`headstart initiate {SESSION_ID}` releases it" in capsys.readouterr().out


def test_show_of_a_failed_session_names_only_what_releases_its_prompt(cloud, capsys):
    held = {"messageId": "msg_1", "status": "held"}
    cloud.add(FakeSession(status="failed", failure=FAILURE, queue=[held]))
    assert cli.main(["show", SESSION_ID]) == 0
    told = capsys.readouterr().out
    assert ("headstart retry" in told, "headstart initiate" in told) == (True, False)


def test_follow_of_a_held_message_in_a_sleeping_session_ends_and_says_how_to_go_on(cloud, capsys):
    session = cloud.add(FakeSession())
    for kind, data in [
        *good_start()[:2],
        ("session.prepared", receipt()),
        ("session.asleep", {"reason": "Idle", "saved": True}),
    ]:
        cloud.emit(session, kind, data)
    session.queue = [{"messageId": "msg_1", "status": "held"}]
    assert cli.main(["follow", SESSION_ID]) == 0
    out, err = capsys.readouterr()
    assert (out.splitlines()[-1], err) == (
        f"The message is held; `headstart initiate {SESSION_ID}` releases it.",
        "",
    )


def test_the_beginning_of_an_id_will_do_where_one_session_has_it(cloud, capsys):
    mine, other = SESSION_ID, f"{SESSION_ID[:10]}{'z' * 20}"
    for session_id in (mine, other):
        cloud.add(FakeSession(session_id=session_id))
    assert cli.main(["rename", SESSION_ID[:11], "A better title"]) == 0
    assert capsys.readouterr().out == f"{SESSION_ID} is called: A better title\n"
    assert cli.main(["rm", SESSION_ID[:9]]) == 2
    assert capsys.readouterr() == (
        "",
        f"headstart: Argument ID: 2 sessions begin so ({mine}, {other}); "
        "`headstart rm --help` says what there is.\n",
    )
    assert cli.main(["rm", "ses_9"]) == 1
    assert "There is no such session" in capsys.readouterr().err
    assert [seen.path for seen in cloud.seen if seen.method == "DELETE"] == [
        "/stage/sessions/ses_9"
    ]


def test_several_are_deleted_also_where_one_is_gone(cloud, capsys):
    other = f"ses_9{'z' * 25}"
    for session_id in (SESSION_ID, other):
        cloud.add(FakeSession(session_id=session_id))
    gone = f"ses_8{'z' * 25}"
    assert cli.main(["rm", SESSION_ID, gone, "ses_9"]) == 1
    assert capsys.readouterr() == (
        f"{SESSION_ID} is being deleted\n{other} is being deleted\n",
        f"headstart: {gone}: No such session\n",
    )
    deleted = [seen.path for seen in cloud.seen if seen.method == "DELETE"]
    assert deleted == [f"/stage/sessions/{one}" for one in (SESSION_ID, gone, other)]


def test_rename_and_withdraw(cloud, capsys):
    cloud.add(FakeSession())
    assert cli.main(["rename", SESSION_ID, "A better title"]) == 0
    assert cli.main(["withdraw", SESSION_ID, "msg_1"]) == 0
    assert capsys.readouterr().out == (
        f"{SESSION_ID} is called: A better title\nmsg_1 is withdrawn; the agent will not see it\n"
    )
    assert cloud.sessions[SESSION_ID].withdrawn == ["msg_1"]
    assert cli.main(["withdraw", SESSION_ID, "msg_1"]) == 0
    assert "msg_1 is withdrawn already;" in capsys.readouterr().out


def test_open_prints_where_the_page_has_a_session(cloud, capsys, monkeypatch):
    cloud.add(FakeSession())
    monkeypatch.delenv("HEADSTART_PAGE", raising=False)
    assert cli.main(["open", SESSION_ID]) == 2
    assert "HEADSTART_PAGE is not set" in capsys.readouterr().err
    monkeypatch.setattr(
        "headstart_local.page_address.page_beside", lambda url: f"http://beside/?{url}"
    )
    assert cli.main(["open", SESSION_ID]) == 0
    assert capsys.readouterr().out == f"http://beside/?{cloud.url}/#{SESSION_ID}\n"
    monkeypatch.setenv("HEADSTART_PAGE", "http://127.0.0.1:1/#api=x&token=secret")
    assert cli.main(["open", SESSION_ID]) == 0
    assert capsys.readouterr().out == f"http://127.0.0.1:1/#{SESSION_ID}\n"


def test_open_says_what_is_no_page_and_without_one_what_is_no_session(cloud, capsys, monkeypatch):
    cloud.add(FakeSession())
    monkeypatch.setenv("HEADSTART_PAGE", "nonsense")
    assert cli.main(["open", SESSION_ID]) == 2
    out, err = capsys.readouterr()
    assert (out, err.startswith("headstart: HEADSTART_PAGE is not an address: ")) == ("", True)
    monkeypatch.delenv("HEADSTART_PAGE")
    assert cli.main(["open", "ses_zz"]) == 1
    assert "There is no such session" in capsys.readouterr().err


def answered(*end: dict[str, object]) -> list[tuple[str, object]]:
    before = good_session()
    return [*before[:-2], *[("agent.event", one) for one in end], before[-1]]


TEXT = {"kind": "text", "messageId": "m", "partId": "turn_1.b"}


def ran(**end: Any) -> list[tuple[str, dict[str, Any]]]:
    """A session whose one tool is a shell's command, and how that ended."""
    *before, over = good_session()
    tool = {"kind": "tool", "partId": "p", "tool": "bash", "title": "Run it"}
    given = {"input": {"command": "npm test\nnpm run lint"}}
    begun = ("agent.event", {**tool, **given, "status": "running"})
    return [*before, begun, ("agent.event", {**tool, **given, **end}), over]


OUTPUT = "\n".join(f"line {number}" for number in range(1, 13))


def test_of_a_tool_its_command_is_shown_and_nothing_it_printed(cloud, capsys):
    cloud.next_session.script = ran(status="completed", output=OUTPUT)
    assert cli.main(RUN) == 0
    out = capsys.readouterr().out
    assert (out.count("▸ bash Run it: npm test\n"), "line 1" in out) == (1, False)


def test_of_a_failed_tool_the_last_lines_are_shown(cloud, capsys):
    cloud.next_session.script = ran(status="error", output=f"{OUTPUT}\n")
    assert cli.main(RUN) == 0
    shown = "".join(f"  │ line {number}\n" for number in range(3, 13))
    assert (
        "✗ bash Run it: npm test\n"
        f"  │ … (all of it: headstart follow {SESSION_ID} --verbose)\n{shown}"
    ) in capsys.readouterr().out


def test_verbose_shows_all_that_tools_print_however_long(cloud, capsys):
    cut = {"output": "line 1\n", "textBytes": len(OUTPUT), "textRef": "t.1"}
    cloud.next_session.script = ran(status="completed", **cut)
    cloud.next_session.texts["t.1"] = [page(OUTPUT)]
    assert cli.main([*RUN, "--verbose"]) == 0
    shown = "".join(f"  │ line {number}\n" for number in range(1, 13))
    assert f"▸ bash Run it: npm test\n{shown}" in capsys.readouterr().out
    assert cli.main(RUN) == 0
    assert len(cloud.requests("GET", "/texts/t.1")) == 1


def test_what_was_streamed_is_not_printed_again_where_its_event_is_cut(cloud, capsys):
    cut = {**TEXT, "text": "Hello", "textBytes": 12, "textRef": "t.1"}
    cloud.next_session.script = answered(cut)
    assert cli.main(RUN) == 0
    assert capsys.readouterr().out.count("Hello, world\n") == 1
    assert cloud.requests("GET", "/texts/t.1") == []


@pytest.mark.parametrize(("kind", "part"), [("text", "turn_1.b"), ("error", "e")])
def test_the_rest_of_a_long_answer_is_fetched_and_printed_once(cloud, capsys, kind, part):
    cut = {**TEXT, "partId": part, "kind": kind, "text": "Hello", "textBytes": 18, "textRef": "t.1"}
    cloud.next_session.script = answered(cut)
    cloud.next_session.texts["t.1"] = [page("Hello, ", cursor="c"), page("world at all", offset=7)]
    assert cli.main(RUN) == 0
    out = capsys.readouterr().out
    assert "Hello, world at all\n" in out
    assert out.count("Hello, world at all") == 1


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (
            {"textBytes": 18, "textRef": "gone"},
            "(6 bytes more of this can't be had now; try again later: "
            f"headstart follow {SESSION_ID})\n",
        ),
        (
            {"truncated": True},
            "(Something of this is gone: it was too long, or its sandbox ended)\n",
        ),
    ],
)
def test_what_is_missing_of_an_answer_is_said_once(cloud, capsys, cut, said):
    cloud.next_session.script = answered({**TEXT, "text": "Hello, world", **cut})
    assert cli.main(RUN) == 0
    assert capsys.readouterr().out.count(said) == 1


@pytest.mark.parametrize("found", ["", "Hello, w"])
def test_what_was_had_of_an_answer_is_shown_where_less_is_kept(cloud, capsys, found):
    cut = {**TEXT, "partId": "new", "text": "Hello, world", "textBytes": 18, "textRef": "t.1"}
    cloud.next_session.script = answered(cut)
    cloud.next_session.texts["t.1"] = [page(found, truncated=True)]
    assert cli.main(RUN) == 0
    told = "Hello, world\n(Something of this is gone: it was too long, or its sandbox ended)\n"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("ref", ["..", ".", ""])
def test_a_text_that_can_not_be_asked_for_ends_nothing(cloud, capsys, ref):
    cut = {**TEXT, "partId": "new", "text": "Hello, world", "textBytes": 18, "textRef": ref}
    cloud.next_session.script = answered(cut)
    assert cli.main(RUN) == 0
    out, err = capsys.readouterr()
    assert ("Hello, world\n(6 bytes more of this can't be had now" in out, err) == (True, "")


def test_what_the_cloud_says_is_shown(cloud, capsys):
    *before, _ = good_session()
    usage = {"inputTokens": 1234, "outputTokens": 56, "cost": 0.0123}
    cloud.next_session.script = [
        *before,
        ("turn.retrying", {"reason": "overloaded"}),
        ("session.renamed", {"title": "Another"}),
        ("session.moved", {"gitUrl": "https://example.com/other"}),
        ("message.changed", {"messageId": "msg_1", "text": "another"}),
        ("message.queued", {"messageId": "msg_2", "text": "longer", "textBytes": 9000}),
        ("message.withdrawn", {"messageId": "msg_2"}),
        ("turn.completed", {"turnId": "turn_1", "messageId": "msg_1", "usage": usage}),
    ]
    assert cli.main(RUN) == 0
    assert (
        "the model's provider failed, and the agent tries again: overloaded\n"
        "renamed: Another\n"
        "the repository is now https://example.com/other\n"
        "the prompt is now:\n"
        "> another\n"
        "> longer\n"
        f"> … (9,000 bytes in all: headstart show {SESSION_ID})\n"
        "withdrawn: msg_2\n"
        "1,234 tokens in, 56 tokens out, $0.0123\n"
    ) in capsys.readouterr().out


LOST = (
    "exit code 137; the work since 2026-11-27T03:17:04.518Z was not saved: gone "
    "(2026-99-99T00:00:00Z)"
)


def test_a_lost_sandbox_is_no_nap(cloud, capsys):
    cloud.next_session.script = [
        *good_session(),
        ("session.asleep", {"reason": LOST, "saved": False}),
    ]
    session = cloud.add(cloud.next_session)
    for kind, data in session.script:
        cloud.emit(session, kind, data)
    session.script = ()
    assert cli.main(["follow", SESSION_ID]) == 0
    [said] = [line for line in capsys.readouterr().out.splitlines() if "asleep" in line]
    assert re.fullmatch(
        r"asleep: exit code 137; the work since 2026-11-2\d \d\d:\d\d was not saved: "
        r"gone \(2026-99-99T00:00:00Z\); the next message wakes it",
        said,
    )


def test_a_preparation_that_was_stopped_is_said_once_and_is_no_failure(cloud, capsys):
    cancelled = {"step": "setup", "code": "Cancelled", "reason": "cancelled", "retryable": True}
    cloud.next_session.script = [
        *good_start()[:15],
        preparing(13, "setup", "running"),
        preparing(14, "setup", "cancelled", 2500, message="Cancelled"),
        ("session.failed", {"attemptNumber": 1, "failure": cancelled}),
    ]
    assert cli.main(RUN) == 1
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if line.startswith("setup:")] == [
        "setup: running setup commands",
        "setup: stopped after 2.5 s",
    ]
    assert err == (
        "headstart: The preparation was stopped; prepare it again with "
        f"`headstart retry {SESSION_ID}`.\n"
    )


def test_steps_are_called_what_they_do(cloud, capsys):
    cloud.next_session.counts = {"setupCommands": 0}
    cloud.next_session.script = [
        ("session.preparing", {"attemptNumber": 2, "cause": "wake"}),
        preparing(1, "sandbox", "running", attempt=2, message="Starting the sandbox"),
        preparing(2, "sandbox", "completed", 5, attempt=2, message="Starting the sandbox"),
        preparing(3, "clone", "running", attempt=2, message="Restoring the saved work"),
        preparing(4, "clone", "completed", 7, attempt=2, message="Saved 2 h ago"),
        preparing(5, "setup", "running", attempt=2),
        preparing(6, "setup", "skipped", attempt=2, message="No setup commands"),
        *good_session()[-9:],
    ]
    assert cli.main(RUN) == 0
    steps = re.findall(r"^(?:sandbox|clone|setup): .*", capsys.readouterr().out, re.MULTILINE)
    assert steps == [
        "sandbox: starting the sandbox",
        "sandbox: completed after 5 ms",
        "clone: restoring the saved work",
        "clone: completed after 7 ms: Saved 2 h ago",
        "setup: skipped: No setup commands",
    ]


def test_a_long_step_says_in_a_log_that_it_goes_on(cloud, capsys, monkeypatch):
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.05)
    session = cloud.next_session
    session.script = good_start()[:17]
    at_rest = good_session()[17:]

    def later(pings: int) -> None:
        for kind, data in at_rest if pings == 2 else []:
            cloud.emit(session, kind, data)

    cloud.on_ping = later
    # The first ping is sent at once, and what goes on ends with the second.
    follow = watching.AsyncHeadstart.follow
    monkeypatch.setitem(follow.__kwdefaults__, "timing", Timing(ping_every=0.5))
    assert cli.main(RUN) == 0
    assert re.search(r"^agent: starting the agent, \d+ ms so far$", capsys.readouterr().out, re.M)


def test_prompts_come_by_a_pipe_or_from_a_file(cloud, tmp_path):
    cloud.next_session.script = good_session()
    file = tmp_path / "prompt.md"
    file.write_text("From a file\n")
    run = ["run", "--repo", "o/n"]
    for arguments, given in (
        ([*run, "--file", str(file)], None),
        (run, b"By a pipe\n"),
        ([*run, "-"], "Grüße\n".encode()),
    ):
        assert command_line(*arguments, given=given).returncode == 0
    prompts = [seen.body["prompt"] for seen in cloud.requests("POST", "/sessions")]
    assert prompts == ["From a file", "By a pipe", "Grüße"]
    refused = command_line(*run, given=b"\xff")
    assert (refused.returncode, refused.stderr) == (
        2,
        b"headstart: What came by the pipe is not valid UTF-8, so nothing was done.\n",
    )


def test_run_takes_what_a_session_can_be_asked_for(cloud):
    cloud.next_session.script = good_session()
    more = [
        "--mode",
        "plan",
        "--model",
        "a/b",
        "--env",
        "CI=1",
        "--env",
        "X=a=b",
        "--agent",
        "kilo",
    ]
    assert cli.main([*RUN, *more]) == 0
    sent = cloud.requests("POST", "/sessions")[0].body
    assert (sent["mode"], sent["model"], sent["agent"]) == ("plan", "a/b", "kilo")
    assert sent["envVars"] == {"CI": "1", "X": "a=b"}
