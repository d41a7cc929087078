"""The command line as it stands on a terminal: Ctrl-C, widths, what is typed and who sees it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from fake_headstart import SESSION_ID, FakeHeadstart, FakeSession, page
from rich.cells import cell_len
from session_scripts import good_session, good_start, preparing, receipt
from terminal_kit import SECONDS, Terminal
from test_client_cli_logs import log
from test_client_secrets import KEY, TOKEN, VALUE, body_of, opened

from headstart_client.text import plain

pytestmark = pytest.mark.usefixtures("environment")

RUN = ["run", "Say hello", "--repo", "https://example.com/r.git"]


@pytest.fixture
def started() -> Iterator[Callable[..., Terminal]]:
    terminals: list[Terminal] = []

    def start(*arguments: str, **more: object) -> Terminal:
        terminals.append(Terminal(*arguments, **more))  # type: ignore[arg-type]
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def goes_on(terminal: Terminal) -> bool:
    return terminal.shown.rstrip().endswith(f"The session goes on: headstart follow {SESSION_ID}")


@pytest.mark.parametrize("arguments", [RUN, ["follow", SESSION_ID], ["retry", SESSION_ID]])
def test_ctrl_c_gives_the_terminal_back_and_says_what_goes_on(cloud, started, arguments):
    session = cloud.add(FakeSession())
    session.script = cloud.next_session.script = good_start()
    terminal = started(*arguments)
    terminal.until("Delivering the first message")
    terminal.interrupt()
    assert terminal.end() == 130
    assert goes_on(terminal)
    assert "Traceback" not in terminal.all
    assert terminal.is_as_it_was()


@pytest.mark.parametrize("loaded", ["headstart_client.arguments", "headstart_client.commands"])
def test_ctrl_c_before_a_command_has_begun_is_no_failure(loaded):
    program = (
        "import sys\n"
        "class Impatient:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {loaded!r}:\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "from headstart_client import cli\n"
        "sys.exit(cli.main(['ls']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"\n")


def test_ctrl_c_while_the_agent_thinks(cloud, started):
    cloud.next_session.script = [*good_start(), ("session.ready", receipt())]
    terminal = started(*RUN)
    terminal.until("the agent is thinking")
    terminal.interrupt()
    assert terminal.end() == 130
    assert goes_on(terminal)
    assert terminal.is_as_it_was()


@pytest.mark.parametrize(
    ("arguments", "look"),
    [(RUN, "headstart ls"), (["send", SESSION_ID, "More"], f"headstart show {SESSION_ID}")],
)
def test_ctrl_c_before_a_change_is_answered_says_where_to_look(cloud, started, arguments, look):
    cloud.add(FakeSession())
    original, come, over = cloud.answer, Event(), Event()

    def answer(request):
        if request.method == "POST":
            come.set()
            over.wait(SECONDS)
        return original(request)

    cloud.answer = answer
    terminal = started(*arguments, columns=200)
    assert come.wait(SECONDS)
    terminal.interrupt()
    assert terminal.end() == 130
    over.set()
    assert "what was asked may have been done all the same" in terminal.shown
    assert f"look before you repeat it: `{look}`." in terminal.shown


def test_ctrl_c_at_a_log_says_what_goes_on(cloud, started):
    session = cloud.add(FakeSession(logs=[log("setup", complete=False)]))
    session.texts["log.1.setup"] = [page("one\n", cursor="a", complete=False)]
    terminal = started("logs", SESSION_ID, "--follow")
    terminal.until("one\r\n")
    terminal.interrupt()
    assert terminal.end() == 130
    assert goes_on(terminal)
    assert terminal.is_as_it_was()


@pytest.mark.parametrize("columns", [24, 40, 80, 200])
def test_three_hundred_sessions_are_a_line_each_with_their_whole_id(cloud, started, columns):
    cloud.list_size = 100
    for number in range(300):
        title = f"{number} " + "漢字 and a long title " * (number % 12)
        cloud.add(FakeSession(session_id=f"ses_{number:026}", title=title))
    terminal = started("ls", "--all", columns=columns)
    assert terminal.end() == 0
    rows = plain(terminal.shown).splitlines()
    assert [row[:30] for row in rows] == [f"ses_{number:026}" for number in reversed(range(300))]
    # An id is longer than a narrow line, and the terminal folds it.
    assert max(map(cell_len, rows)) <= max(columns, 30)
    assert all(("2026-" in row) is (columns >= 80) for row in rows)


def test_a_secret_is_asked_for_and_neither_shown_nor_an_argument(cloud: FakeHeadstart, started):
    cloud.key = KEY
    cloud.next_session.script = good_session()
    terminal = started(*RUN, "--secret", "NPM_TOKEN", HEADSTART_TOKEN=TOKEN)
    terminal.until("NPM_TOKEN: ")
    terminal.type(VALUE)
    terminal.until("session ses_")
    listed = Path(f"/proc/{terminal.process.pid}/cmdline").read_text()
    assert terminal.end() == 0
    assert "NPM_TOKEN" in listed
    assert VALUE not in listed + terminal.all
    sent = body_of(cloud, "POST", "/sessions")["encryptedSecrets"]
    assert opened(sent) == {"NPM_TOKEN": VALUE}


def test_a_secret_of_the_environment_is_no_argument_of_any_process(cloud: FakeHeadstart, started):
    cloud.key = KEY
    cloud.next_session.script = [*good_start()[:3], preparing(2, "sandbox", "running")]
    terminal = started(*RUN, "--secret", "NPM_TOKEN", HEADSTART_TOKEN=TOKEN, NPM_TOKEN=VALUE)
    terminal.until("Starting the sandbox")
    lists = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline")]
    terminal.interrupt()
    terminal.end()
    assert any(b"NPM_TOKEN" in one for one in lists)
    assert not any(VALUE.encode() in one for one in lists)
    assert VALUE not in terminal.all
