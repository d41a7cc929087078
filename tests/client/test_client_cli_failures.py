"""What the command line says when something went wrong: one sentence, and the exit code."""

import re

import fake_headstart as fake
import pytest
from cli_kit import FAILURE, RUN, command_line
from fake_headstart import SESSION_ID, FakeSession
from fake_http import Reply
from session_scripts import good_session, good_start, preparing

from headstart_client import cli

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def quick_retries(monkeypatch):
    monkeypatch.setattr("headstart_client.requests.RETRY_BASE", 0.0)


def test_a_failed_preparation_ends_with_its_output_and_what_to_do(cloud, capsys):
    session = cloud.next_session
    session.script = [
        *good_start()[:15],
        preparing(13, "setup", "running", 0, output="installing\n"),
        preparing(14, "setup", "failed", 2500, message="`npm ci` exited with status 1"),
        ("session.failed", {"attemptNumber": 1, "failure": FAILURE}),
    ]
    session.steps["setup"] = {
        "status": "failed",
        "output": "installing\t:100:[b]\n\x1b[31mnpm ERR! no lock file\x1b[0m\n\x1b]0;pwned\x07",
    }
    assert cli.main(RUN) == 1
    out, err = capsys.readouterr()
    assert out.endswith("setup: failed after 2.5 s: `npm ci` exited with status 1\n")
    assert err == (
        "  │ installing\t:100:[b]\n"
        "  │ npm ERR! no lock file\n"
        "headstart: Running setup commands failed: `npm ci` exited with status 1 "
        "(SetupCommandFailed); repair the command: "
        f"`headstart retry {SESSION_ID} --setup CMD`.\n"
    )


@pytest.mark.parametrize("code", ["RepositoryAccessDenied", "RepositoryNotFound"])
def test_a_private_repository_may_be_one_that_is_not_yours(cloud, capsys, code):
    failure = {"step": "clone", "code": code, "reason": "no", "retryable": True}
    cloud.next_session.script = [("session.failed", {"attemptNumber": 1, "failure": failure})]
    assert cli.main(RUN) == 1
    assert capsys.readouterr().err == (
        f"headstart: Cloning the repository failed: no ({code}); check the address, "
        "and whether the deployment gives you this repository if it is private; another is tried "
        f"by `headstart retry {SESSION_ID} --repo REPO`.\n"
    )


@pytest.mark.parametrize(
    ("ending", "sentence"),
    [
        (
            ("turn.failed", {"code": "ProviderUnavailable", "reason": "the provider is down"}),
            "headstart: The turn failed: the provider is down (ProviderUnavailable); try "
            f"again: `headstart send {SESSION_ID} PROMPT`.\n",
        ),
        (
            ("turn.failed", {"code": "AgentRefused", "reason": "no such model"}),
            "headstart: The turn failed: no such model (AgentRefused); the same again ends the "
            "same way: with another model in a new session, `headstart run --model MODEL`, or "
            f"another message, `headstart send {SESSION_ID} PROMPT`.\n",
        ),
        (
            ("message.failed", {"code": "DeliveryUnknown", "reason": "no word of it"}),
            "headstart: The message is held: no word of it (DeliveryUnknown); "
            f"`headstart initiate {SESSION_ID}` sends it again, if the agent did not get it.\n",
        ),
        (
            ("turn.interrupted", {}),
            "headstart: The turn failed: The turn was interrupted (Interrupted); go on with "
            f"`headstart send {SESSION_ID} PROMPT`.\n",
        ),
    ],
)
def test_a_failed_turn_ends_with_1(cloud, capsys, ending, sentence):
    kind, data = ending
    data = {"turnId": "turn_1", "messageId": "msg_1", **data}
    cloud.next_session.script = [*good_session()[:-2], (kind, data)]
    assert cli.main(RUN) == 1
    out, err = capsys.readouterr()
    assert "Hello, world\n" in out
    assert err == sentence


def test_a_message_that_was_withdrawn_is_no_failed_turn(cloud, capsys):
    session = cloud.add(FakeSession(status="ready"))
    session.script = [("message.withdrawn", {"messageId": "msg_2"})]
    assert cli.main(["send", SESSION_ID, "and now?"]) == 1
    assert capsys.readouterr().err == (
        "headstart: The message was withdrawn, so the agent will not see it.\n"
    )


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            fake.problem(401, "Unauthorized", "no"),
            "The API refused the token: set HEADSTART_TOKEN to a valid one "
            "(`headstart token --sub NAME` prints one for an embedded cloud).",
        ),
        (
            fake.problem(422, "IdempotencyKeyReused", "Used with another body"),
            "The API refused the request (IdempotencyKeyReused): Used with another body.",
        ),
        (
            fake.Reply(404, {"message": "Not Found"}),
            "There is no API at URL: set HEADSTART_URL to its whole address, path included, as "
            "`headstart up` or the deployment printed it.",
        ),
        (
            fake.problem(429, "QuotaExceeded", "at most 10 sessions at a time"),
            "At most 10 sessions at a time: end one with `headstart rm ID`, then try again.",
        ),
        (
            fake.problem(429, "QueueFull", "50 messages are waiting"),
            "50 messages are waiting: send it once the agent has taken one of them.",
        ),
    ],
)
def test_a_refusal_is_one_sentence(cloud, capsys, reply, sentence):
    cloud.canned.append(reply)
    assert cli.main(RUN) == 1
    out, err = capsys.readouterr()
    assert (out, err.replace(cloud.url, "URL")) == ("", f"headstart: {sentence}\n")


@pytest.mark.parametrize(
    ("arguments", "fields", "sentence"),
    [
        (RUN, [["gitUrl"]], "Argument --repo: no good; `headstart run --help`"),
        (RUN, [["githubRepo"]], "Argument --repo: no good; `headstart run --help`"),
        (RUN, [["prompt"]], "Argument PROMPT: no good; `headstart run --help`"),
        (
            [*RUN, "--branch", "", "--setup", ""],
            [["upstreamBranch"], ["setupCommands", 0]],
            "Argument --branch: no good; argument --setup: no good; `headstart run --help`",
        ),
        ([*RUN, "--agent", ""], [["agent"]], "Argument --agent: no good; `headstart run --help`"),
        (
            ["send", SESSION_ID, "x"],
            [["prompt"]],
            "Argument PROMPT: no good; `headstart send --help`",
        ),
        (
            ["answer", SESSION_ID, "que_1", "--reply", "once"],
            [["body"]],
            "Argument --reply: no good; `headstart answer --help`",
        ),
        (
            ["answer", SESSION_ID, "per_1", "--choose", "x"],
            [["answers", 0, 0]],
            "Argument --choose: no good; `headstart answer --help`",
        ),
        (
            ["retry", SESSION_ID, "--branch", "bad branch"],
            [["upstreamBranch"]],
            "Argument --branch: no good; `headstart retry --help`",
        ),
        (["run", "--repo", "o/n", "p"], [["new"]], "Argument new: no good; `headstart"),
    ],
)
def test_what_the_api_can_not_take_is_said_of_the_argument_and_ends_with_2(
    cloud, capsys, arguments, fields, sentence
):
    session = cloud.add(FakeSession(status="failed"))
    errors = [{"loc": loc, "msg": "no good"} for loc in fields]
    refusal = fake.problem(422, "ValidationFailed", "fields", errors=errors)
    reads = [fake.Reply(200, session.view())] if arguments[0] != "run" else []
    cloud.canned.extend([*reads, refusal])
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.startswith(f"headstart: {sentence}")) == ("", True), err
    sent = cloud.seen[-1].body
    assert not {loc[0] for loc in fields} & {"upstreamBranch", "agent"} - set(sent)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("BranchNotFound", f"name another: `headstart retry {SESSION_ID} --branch BRANCH`."),
        ("AgentStartFailed", "or another agent in a new session: `headstart run --agent AGENT`."),
    ],
)
def test_what_a_mere_retry_can_not_repair_has_advice_that_can(cloud, capsys, code, advice):
    failure = {"step": "branch", "code": code, "reason": "no", "retryable": True}
    cloud.next_session.script = [("session.failed", {"attemptNumber": 1, "failure": failure})]
    assert cli.main(RUN) == 1
    assert capsys.readouterr().err.rstrip().endswith(advice)


@pytest.mark.parametrize("status", ["prepared", "ready", "asleep"])
def test_a_message_behind_a_held_one_says_what_releases_it(cloud, capsys, status):
    cloud.add(FakeSession(status=status, queue=[{"messageId": "msg_1", "status": "held"}]))
    assert cli.main(["send", SESSION_ID, "and now?"]) == 1
    assert capsys.readouterr().err == (
        f"headstart: The message is held; `headstart initiate {SESSION_ID}` releases it.\n"
    )


def test_a_message_that_is_held_while_it_is_followed_says_why_and_what_releases_it(cloud, capsys):
    session = cloud.add(
        FakeSession(status="running", active_turn={"turnId": "t", "messageId": "msg_1"})
    )
    session.script = [
        ("turn.interrupted", {"turnId": "t", "messageId": "msg_1"}),
        ("message.held", {"messageId": "msg_2"}),
    ]
    assert cli.main(["send", SESSION_ID, "and now?"]) == 1
    assert capsys.readouterr().err == (
        "headstart: The message is held: The turn was interrupted (Interrupted); "
        f"`headstart initiate {SESSION_ID}` releases it, and so does another message.\n"
    )


def test_a_preparation_that_may_have_delivered_is_tried_again(cloud, capsys):
    failure = {"step": "deliver", "code": "DeliveryUnknown", "reason": "no", "retryable": False}
    cloud.next_session.script = [("session.failed", {"attemptNumber": 1, "failure": failure})]
    assert cli.main(RUN) == 1
    assert f"`headstart retry {SESSION_ID}`, which holds the message" in capsys.readouterr().err


def test_a_message_to_a_failed_session_says_that_it_waits(cloud, capsys):
    cloud.add(FakeSession(status="failed", failure=FAILURE))
    assert cli.main(["send", SESSION_ID, "and now?"]) == 1
    assert f"`headstart retry {SESSION_ID} --setup CMD`" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["ü", "one\ntwo"])
def test_what_can_not_be_a_token_is_one_sentence(cloud, capsys, monkeypatch, token):
    monkeypatch.setenv("HEADSTART_TOKEN", token)
    assert cli.main(["ls"]) == 1
    sentence = "The token can't be one: it has a line break or is not ASCII."
    assert capsys.readouterr() == ("", f"headstart: {sentence}\n")
    assert cloud.seen == []


@pytest.mark.parametrize("around", ["Bearer {}", "bearer  {}\n", " {} ", "{}\r\n"])
def test_a_token_may_come_with_what_it_was_copied_with(cloud, monkeypatch, around):
    monkeypatch.setenv("HEADSTART_TOKEN", around.format("e30.e30.x"))
    monkeypatch.setenv("HEADSTART_URL", f" {cloud.url}\n")
    assert cli.main(["ls"]) == 0
    assert cloud.seen[-1].headers["authorization"] == "Bearer e30.e30.x"


@pytest.mark.parametrize("token", ["Bearer", "Bearer ", " \n"])
def test_what_has_no_token_in_it_is_none(capsys, monkeypatch, token):
    monkeypatch.setenv("HEADSTART_URL", "https://api.example.com")
    monkeypatch.setenv("HEADSTART_TOKEN", token)
    assert cli.main(["ls"]) == 2
    assert capsys.readouterr().err.startswith("headstart: HEADSTART_TOKEN is not set")


def test_a_token_needs_a_name(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["token", "--sub", ""])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "headstart: Argument --sub: must not be empty; "
        "`headstart token --help` says what there is.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rm", "foo/bar"], "Argument ID: must be a session's id"),
        (["rm", ""], "Argument ID: must be a session's id"),
        (["stop", "msg_1"], "Argument ID: must be a session's id"),
        (["answer", SESSION_ID, "a/b", "--reject"], "Argument REQUEST: must be the id of what the"),
        (["answer", SESSION_ID, "per_1"], "One of the arguments --reply --choose --reject is"),
        (["run", "--repo", "o/n", "x", "--file", "README.md"], "Give PROMPT or --file, not both"),
        (["ls", "--limit", "0"], "Argument --limit: must be a whole number from 1 on"),
        ([*RUN, "--depth", "x"], "Argument --depth: must be a whole number from 1 on"),
        (["ls", "--limit", "3", "--all"], "Argument --all: not allowed with argument --limit"),
        (["withdraw", SESSION_ID, ""], "Argument MESSAGE: must be a message's id"),
        (["withdraw", SESSION_ID, ".."], "Argument MESSAGE: must be a message's id"),
        (["answer", SESSION_ID, "..", "--reject"], "Argument REQUEST: must be the id of what the"),
        (["rename", SESSION_ID, " "], "Argument TITLE: must not be empty"),
        ([*RUN, "--env", "CI"], "Argument --env: must be NAME=VALUE"),
        (["run", ""], "Argument PROMPT: must not be empty"),
        (["send", SESSION_ID, "--file", "/dev/null"], "Argument --file: must not be empty"),
        (["ls", "--repo", "sample"], "Argument --repo: must be an address, such as"),
        (["demo", "--repo", "nope"], "Argument --repo: must be an address, or org/name on GitHub"),
        (["logs", SESSION_ID, "--nope"], "Unrecognized arguments: --nope; `headstart logs --help`"),
        (["send", SESSION_ID, "a", "--json", "b"], "Unrecognized arguments: b; `headstart send"),
        (["sing"], "Argument COMMAND: invalid choice: 'sing'"),
        ([], "The following arguments are required: COMMAND"),
    ],
)
def test_wrong_arguments_are_one_sentence_before_anything_is_done(cloud, capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith(f"headstart: {said}")
    assert cloud.seen == []


def test_nobody_there_is_one_sentence(capsys, monkeypatch):
    monkeypatch.setenv("HEADSTART_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("headstart_client.requests.RETRY_BASE", 0.0)
    monkeypatch.setattr("headstart_client.requests.TRIES", 1)
    assert cli.main(["ls"]) == 1
    assert re.fullmatch(
        r"headstart: The API at http://127.0.0.1:9 can't be reached \(.*\): check HEADSTART_URL, "
        r"or start an embedded cloud with `headstart up`\.\n",
        capsys.readouterr().err,
    )


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("reply", [Reply(0), Reply(504, {"message": "timed out"})])
@pytest.mark.parametrize(
    ("arguments", "look"),
    [(RUN, "headstart ls"), (["rename", SESSION_ID, "x"], f"headstart show {SESSION_ID}")],
)
def test_what_may_have_been_done_is_not_told_as_undone(cloud, capsys, arguments, look, reply):
    cloud.canned.extend([reply] * 4)
    assert cli.main(arguments) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"headstart: No answer came from the API at {cloud.url} (")
    assert err.endswith(f"done all the same, so look before you repeat it: `{look}`.\n")


@pytest.mark.usefixtures("quick_retries")
def test_what_only_asks_is_told_as_unanswered(cloud, capsys):
    cloud.canned.extend([Reply(0)] * 4)
    assert cli.main(["ls"]) == 1
    assert f"The API at {cloud.url} can't be reached (" in capsys.readouterr().err


def test_no_cloud_on_this_machine_is_one_sentence_without_a_token_too(capsys, monkeypatch):
    monkeypatch.setenv("HEADSTART_URL", "http://127.0.0.1:9/x")
    monkeypatch.setenv("HEADSTART_TOKEN", "")
    assert cli.main(["ls"]) == 1
    assert capsys.readouterr() == (
        "",
        "headstart: No embedded cloud answers at http://127.0.0.1:9; start it: headstart up.\n",
    )


def test_without_an_address_or_a_token_it_says_which(capsys, monkeypatch):
    monkeypatch.setenv("HEADSTART_URL", "https://api.example.com")
    monkeypatch.delenv("HEADSTART_TOKEN")
    assert cli.main(["ls"]) == 2
    assert "HEADSTART_TOKEN is not set" in capsys.readouterr().err
    monkeypatch.delenv("HEADSTART_URL")
    assert cli.main(["ls"]) == 2
    assert "HEADSTART_URL is not set" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["token", ""])
@pytest.mark.parametrize(
    "url",
    [
        "http://\udce9",
        "nonsense",
        "http://",
        "http://[",
        "127.0.0.1:4599/x",
        "ftp://h/",
        "http://h:x",
    ],
)
def test_what_is_no_address_is_one_sentence(capsys, monkeypatch, url, token):
    monkeypatch.setenv("HEADSTART_URL", url)
    monkeypatch.setenv("HEADSTART_TOKEN", token)
    assert cli.main(["ls"]) == 2
    assert capsys.readouterr() == (
        "",
        "headstart: HEADSTART_URL is not an address: set it to the API's, such as https://…, "
        "or start an embedded cloud with `headstart up`.\n",
    )


@pytest.mark.parametrize("command", [RUN, ["send", SESSION_ID, ""], ["demo", "--prompt", ""]])
def test_what_is_not_utf_8_is_refused_in_a_sentence_before_anything_is_done(cloud, command):
    done = command_line(*command[:-1], b"caf\xe9")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"headstart: An argument is not valid UTF-8, so nothing was done.\n"
    assert cloud.seen == []


def test_an_agent_that_is_not_there_can_be_another(cloud, capsys):
    failure = {"step": "agent", "code": "AgentUnavailable", "reason": "no kilo", "retryable": False}
    cloud.next_session.script = [("session.failed", {"attemptNumber": 1, "failure": failure})]
    assert cli.main(RUN) == 1
    assert "`headstart run --agent AGENT --mode MODE`" in capsys.readouterr().err


def test_a_long_output_of_a_step_says_where_all_of_it_is(cloud, capsys):
    session = cloud.next_session
    session.script = [("session.failed", {"attemptNumber": 1, "failure": FAILURE})]
    output = "".join(f"line {number}\n" for number in range(25))
    session.steps["setup"] = {"status": "failed", "output": output}
    assert cli.main(RUN) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"  │ … (all of it: headstart logs {SESSION_ID} setup)"
    assert (lines[1], lines[20]) == ("  │ line 5", "  │ line 24")
