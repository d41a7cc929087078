"""How the command line shows a session: JSON lines, plain lines, or live on a terminal."""

import json
import shlex
import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from headstart_client.follow import RECONNECTING
from headstart_client.inputs import permission, questions
from headstart_client.models import Event, PendingInput
from headstart_client.reducer import CAUGHT_UP
from headstart_client.rest import ago
from headstart_client.shapes import data_of
from headstart_client.text import flat, last_line, plain, visible
from headstart_client.view import Data, Part, Step, View
from headstart_client.work import ENDS, changed, told

_MARKS = {
    "pending": ("·", "dim"),
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("-", "dim"),
    "cancelled": ("✗", "yellow"),
}
_PERCENT_STEP = 25

_Shown = tuple[int, str, int]
"""Of a step: the attempt's number, the status, and the percent shown while it runs."""


class Screen(Protocol):
    """Where events are shown, after the view has taken them in."""

    def show(self, event: Event, view: View) -> None:
        """Show what the event changed."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class JsonScreen:
    """The cloud's events, one JSON object a line."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, event: Event, _: View) -> None:
        """Write the event, unless it is one of the client's own."""
        if not event.type.startswith("client."):
            line = json.dumps(event.to_json(), separators=(",", ":"))
            self._console.out(line, highlight=False)

    def close(self) -> None:
        """Nothing to leave behind."""


class LineScreen:
    """Lines for logs and pipes: one a step change, and the answer as it comes.

    `command` is what the command line is called by where the output is read.
    """

    def __init__(self, console: Console, command: str = "headstart") -> None:
        self._console = console
        self._command = command
        self._mid_line = False
        self._shown_steps: dict[str, _Shown] = {}
        self._shown_text: dict[str, str] = {}
        self._shown_notes: set[tuple[str, str]] = set()
        self._shown_inputs: set[str] = set()
        self._shown_left_out: list[str] = []

    def show(self, event: Event, view: View) -> None:
        """Write what is new."""
        data = data_of(event)
        match event.type:
            case "message.queued":
                for line in plain(data["text"]).split("\n"):
                    self._write(f"> {line}", "bold")
            # The snapshot comes before the replay of what led to it, so it is shown after that,
            # and the steps of a preparation that is over are no news.
            case "session.snapshot" if view.status != "preparing":
                self._note_steps(view)
            case "client.caught_up" | "preparing" | "session.failed":
                self._progress(view)
            case "session.ready" | "session.prepared":
                self._progress(view)
                word = event.type.removeprefix("session.")
                self._line(f"{word} in {_took(data['receipt'])}", "green")
            case "session.asleep":
                style = "yellow" if view.rest.saved is False else "dim"
                self._line(f"asleep: {view.rest.why}; the next message wakes it", style)
            case "agent.event" | "agent.delta":
                self._part(data["partId"], view.parts[data["partId"]])
            case "agent.snapshot":
                for part_id, part in view.parts.items():
                    self._part(part_id, part)
            case "turn.completed" | "turn.failed" | "turn.interrupted":
                self._turn_over(data, view)
            case "runner.disconnected":
                self._line("the sandbox's connection dropped; waiting for it", "yellow")
            case str(kind) if kind == RECONNECTING:
                self._line(f"connection lost ({data['reason']}); reconnecting", "yellow")
        self._work(event.type, data, view)
        self._left_out(event.type, view.rest.left_out)
        self._inputs(event.type, data, view)

    def close(self) -> None:
        """End an unfinished line."""
        self._end_line()

    def _work(self, kind: str, data: Data, view: View) -> None:
        if kind == "work.changed":
            self._line(changed(data), "dim")
        elif kind in ENDS:
            self._line(told(kind, data, view.work), "yellow" if "reason" in data else "green")

    def _left_out(self, kind: str, names: list[str]) -> None:
        if kind not in {"session.asleep", CAUGHT_UP} or names == self._shown_left_out:
            return
        self._shown_left_out = names
        if names:
            self._line("not in what is saved:", "yellow")
        for name in names:
            self._line(name, "yellow", indent="  ")

    def _turn_over(self, data: Data, view: View) -> None:
        self._end_line()
        # A failure that ends the watch is told after it, with what to do.
        if "reason" in data and view.outcome() is None:
            self._line(f"the turn failed: {data['reason']}", "yellow")

    def _progress(self, view: View) -> None:
        for step, now, before in self._note_steps(view):
            if now != before and step.status != "pending":
                self._line(_step_line(step, now, before), _MARKS.get(step.status, ("", ""))[1])

    def _note_steps(self, view: View) -> list[tuple[Step, _Shown, _Shown | None]]:
        """Return each step, how it is to be shown now and how it was shown before."""
        noted = []
        for step in view.steps.values():
            percent = (step.percent or 0) // _PERCENT_STEP * _PERCENT_STEP
            now = (view.attempt_number, step.status, percent if step.status == "running" else 0)
            noted.append((step, now, self._shown_steps.get(step.name)))
            self._shown_steps[step.name] = now
        return noted

    def _part(self, part_id: str, part: Part) -> None:
        if part.kind in {"text", "error"}:
            shown = self._shown_text.get(part_id, "")
            if not part.text.startswith(shown):
                self._end_line()
                shown = ""
            self._text(part.text[len(shown) :])
            self._shown_text[part_id] = part.text
            if part.final:
                self._end_line()
        elif (note := _note(part)) and (part_id, note) not in self._shown_notes:
            self._shown_notes.add((part_id, note))
            self._line(note, "cyan")

    def _inputs(self, kind: str, data: Data, view: View) -> None:
        """Write what is asked and how that ended; of what was over before, neither."""
        request_id = data.get("requestId")
        if kind in {"input.requested", CAUGHT_UP}:
            for asked in view.inputs.open.values():
                new = asked.request_id not in self._shown_inputs
                if new and request_id in {None, asked.request_id}:
                    self._ask(asked, view.session_id)
        elif kind == "input.resolved" and request_id in self._shown_inputs:
            self._line(data["outcome"], "dim", indent="  ")

    def _ask(self, asked: PendingInput, session_id: str) -> None:
        self._shown_inputs.add(asked.request_id)
        lines, answer = _request(asked)
        for line in lines:
            self._write(line, "bold yellow")
        command = f"{self._command} answer {session_id} {_word(asked.request_id)} {answer}"
        self._line(command, indent="  ")

    def _text(self, text: str) -> None:
        if text := plain(text):
            self._console.print(text, end="", soft_wrap=True, markup=False, highlight=False)
            self._mid_line = not text.endswith("\n")

    def _line(self, text: str, style: str = "", indent: str = "") -> None:
        """Write what is one line whatever is in it, so that nobody else can write one like it."""
        self._write(indent + flat(text), style)

    def _write(self, text: str, style: str) -> None:
        self._end_line()
        self._console.print(Text(text, style), soft_wrap=True, highlight=False)

    def _end_line(self) -> None:
        if self._mid_line:
            self._console.print()
            self._mid_line = False


class LiveScreen(LineScreen):
    """The same on a terminal, with all steps on display while the session prepares."""

    def __init__(
        self,
        console: Console,
        command: str = "headstart",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(console, command)
        self._clock = clock
        self._live: Live | None = None
        self._thinking_since: float | None = None

    def show(self, event: Event, view: View) -> None:
        """Keep the display while there is nothing to read yet, then write the answer."""
        match event.type:
            case "session.preparing" | "preparing":
                self._start(view)
            case "session.ready":
                self._thinking_since = self._clock()
            case "session.snapshot":
                if view.status == "preparing":
                    self._start(view)
            case "session.prepared" | "session.failed" | "session.asleep":
                self._stop()
            case "agent.event" | "agent.delta" | "turn.completed" | "turn.failed":
                self._stop()
            case "input.requested" | "client.caught_up" if view.inputs.open:
                self._stop()
        super().show(event, view)

    def close(self) -> None:
        """Leave the display as it stands."""
        self._stop()
        super().close()

    def _stop(self) -> None:
        self._thinking_since = None
        if self._live:
            self._live.stop()
            self._live = None

    def _start(self, view: View) -> None:
        if self._live is None:
            self._thinking_since = None
            self._live = Live(
                get_renderable=lambda: self._display(view),
                console=self._console,
                refresh_per_second=8,
            )
            self._live.start()

    def _progress(self, view: View) -> None:
        if self._live:
            self._live.refresh()

    def _display(self, view: View) -> RenderableType:
        now = self._clock()
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column(no_wrap=True)
        grid.add_column(justify="right", width=8)
        grid.add_column()
        for step in list(view.steps.values()):
            grid.add_row(*_step_row(step, now))
        if self._thinking_since is None:
            return grid
        waited = _time(now - self._thinking_since)
        return Group(grid, Spinner("dots", Text(f"the agent is thinking… {waited}", "dim")))


def receipt(console: Console, view: View, answer_ms: float, first_word: float | None) -> None:
    """Show what each part took: `answer_ms` of the POST, `first_word` in seconds after it."""
    if not view.receipt:
        return
    table = Table(
        box=None, pad_edge=False, show_header=False, title="Receipt", title_justify="left"
    )
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row("answer to the POST", f"{answer_ms:.0f} ms")
    for line in view.receipt["steps"]:
        if line["status"] == "skipped":
            table.add_row(Text(flat(line["step"])), "skipped")
        else:
            table.add_row(Text(flat(line["step"])), _time(line["elapsedMs"] / 1000))
    table.add_row("ready, in all", _time(view.receipt["totalMs"] / 1000))
    if view.receipt["preparedTree"]:
        table.add_row(*_tree(view.receipt["preparedTree"]))
    if first_word is not None:
        table.add_row("first word of the answer", _time(first_word), "after the POST")
    console.print()
    console.print(table)


def _step_row(step: Step, now: float) -> list[RenderableType]:
    mark, style = _MARKS.get(step.status, ("", ""))
    began = step.status not in {"pending", "skipped"}
    elapsed = Text(_time(step.seconds(now)) if began else "", "dim")
    icon: RenderableType = Text(mark, style)
    detail: RenderableType = Text("")
    if step.status == "running":
        icon = Spinner("dots")
        line = flat(last_line(step.output) or step.message or "")
        detail = Text(line, "dim", no_wrap=True, overflow="ellipsis")
        if step.percent is not None:
            grid = Table.grid(padding=(0, 1))
            bar = ProgressBar(total=100, completed=step.percent, width=24, complete_style="green")
            grid.add_row(bar, f"{step.percent:3d}%", detail)
            detail = grid
    elif step.status != "pending":
        # How it ended is read once and may be several sentences: nothing of it is cut.
        done = step.status == "completed"
        said = step.message or ("" if done else step.status)
        detail = Text(flat(said), "dim" if done else style)
    title = Text(flat(step.title), "dim" if step.status == "pending" else "")
    return [icon, title, elapsed, detail]


def _step_line(step: Step, now: _Shown, before: _Shown | None) -> str:
    if step.status == "running":
        again = before is not None and before[:2] == now[:2]
        return f"{step.name}: {now[2]}%" if again else f"{step.name}: {step.title.lower()}"
    message = f": {step.message.removeprefix('Skipped: ')}" if step.message else ""
    if step.status == "skipped":
        return f"{step.name}: skipped{message}"
    return f"{step.name}: {step.status} after {_time(step.elapsed)}{message}"


def _request(asked: PendingInput) -> tuple[list[str], str]:
    """Return what is asked, a line a question, and the options of the command that answers it."""
    if asked.kind == "permission":
        first, *more = _told(f"May the agent do this? {permission(asked)}")
        return [f"? {first}", *(f"?   {line}" for line in more)], "--reply once"
    lines, choices = [], []
    for text, labels in questions(asked):
        question = f"{text} ({' / '.join(labels)})" if labels else text
        lines.append(f"? {' '.join(_told(question))}")
        choices.append(f"--choose {_word(labels[0]) if labels else 'TEXT'}")
    return lines or ["? The agent asks something"], " ".join(choices) or "--reject"


def _told(text: str) -> list[str]:
    """Return the lines of what an agent asks, with nothing hidden in them."""
    return [flat(line) for line in visible(text).split("\n") if line.strip()]


def _word(text: str) -> str:
    return shlex.quote(flat(text))


def _note(part: Part) -> str:
    data = part.data
    if part.kind == "tool":
        mark = "✗" if data.get("status") in {"error", "failed"} else "▸"
        return f"{mark} {data.get('tool') or 'tool'} {data.get('title', '')}"
    if part.kind == "patch":
        return f"▸ changed {', '.join(data.get('files', []))}"
    return ""


def _took(paid: Data) -> str:
    """Return how long a preparation took, and what a prepared tree saved of it."""
    tree = "; " + " ".join(_tree(paid["preparedTree"])) if paid["preparedTree"] else ""
    return _time(paid["totalMs"] / 1000) + tree


def _tree(tree: Data) -> tuple[str, str]:
    """Return which prepared tree it began with, and what that saved."""
    return f"a prepared tree of {ago(tree['age'])}", f"saved {_time(tree['saved'] / 1000)}"


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
