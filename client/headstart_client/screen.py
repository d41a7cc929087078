"""How the command line shows a session: JSON lines, plain lines, or live on a terminal."""

import json
import shlex
from typing import Protocol

from rich.console import Console

from headstart_client import tools
from headstart_client.amounts import counted
from headstart_client.events import data_of
from headstart_client.follow import RECONNECTING
from headstart_client.inputs import answered, permission, questions
from headstart_client.models import Event, PendingInput
from headstart_client.moments import timed
from headstart_client.receipts import duration, spent, took
from headstart_client.reducer import CAUGHT_UP
from headstart_client.text import flat, plain, visible
from headstart_client.verbatim import verbatim
from headstart_client.view import Data, Step, View
from headstart_client.work import ENDS, changed, told

MARKS = {
    "pending": ("·", "dim"),
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("-", "dim"),
    "cancelled": ("✗", "yellow"),
}
STOPPED = "stopped"
"""What is said of a step that somebody cancelled."""

_PERCENT_STEP = 25

_TAIL_LINES = 10
"""Of a failed tool's output, as the reason stands at its end."""

_LINES = {
    "session.renamed": ("renamed: {title}", "dim"),
    "session.moved": ("the repository is now {gitUrl}", "dim"),
    "message.withdrawn": ("withdrawn: {messageId}", "dim"),
    "turn.retrying": (
        "the model's provider failed, and the agent tries again: {reason}",
        "yellow",
    ),
    "runner.disconnected": ("the sandbox's connection dropped; waiting for it", "yellow"),
    RECONNECTING: ("connection lost ({reason}); reconnecting", "yellow"),
}
"""What is said in one line whatever the view has."""

_Shown = tuple[int, str, int]
"""Of a step: the attempt's number, the status, and the percent shown while it runs."""


def gone(what: str) -> str:
    """Return the sentence for a text of which something can't be had any more."""
    return f"Something of {what} is gone: it was too long, or its sandbox ended"


class Screen(Protocol):
    """Where events are shown, after the view has taken them in."""

    def show(self, event: Event, view: View) -> None:
        """Show what the event changed."""

    def tick(self, view: View) -> None:
        """Show that something goes on where nothing was shown for a while."""

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

    def tick(self, _: View) -> None:
        """No event, no line."""

    def close(self) -> None:
        """Nothing to leave behind."""


class LineScreen:
    """Lines for logs and pipes: one a step change, and the answer as it comes.

    `command` is what the command line is called by where the output is read; `answers` says that
    what is asked is answered in place, `verbose` that all outputs of tools are to be seen.
    """

    def __init__(
        self,
        console: Console,
        command: str = "headstart",
        *,
        answers: bool = False,
        verbose: bool = False,
    ) -> None:
        self._console = console
        self._command = command
        self._answers = answers
        self._verbose = verbose
        self._mid_line = False
        self._asks = False
        self._quiet = False
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
                self._message(data, view)
            case "message.changed":
                self._line("the prompt is now:", "dim")
                self._message(data, view)
            # The snapshot comes before the replay of what led to it, so it is shown after that,
            # and the steps of a preparation that is over are no news.
            case "session.snapshot" if view.status != "preparing":
                self._note_steps(view)
            case "client.caught_up" | "preparing" | "session.failed":
                self._progress(view)
            case "session.ready" | "session.prepared":
                self._progress(view)
                word = event.type.removeprefix("session.")
                self._line(f"{word} in {took(data['receipt'])}", "green")
            case "session.asleep":
                why = timed(view.rest.why or "")
                style = "yellow" if view.rest.saved is False else "dim"
                self._line(f"asleep: {why}; the next message wakes it", style)
            case "agent.event" | "agent.delta":
                self._part(data["partId"], view)
            case "agent.snapshot":
                for part_id in view.parts:
                    self._part(part_id, view)
            case "turn.completed" | "turn.failed" | "turn.interrupted":
                self._turn_over(data, view)
        if known := _LINES.get(event.type):
            said, style = known
            self._line(said.format_map(data), style)
        self._work(event.type, data, view)
        self._left_out(event.type, view.rest.left_out)
        self._inputs(event.type, data, view)

    def tick(self, view: View) -> None:
        """Write how long the step takes that a preparation is at, if nothing else was written."""
        if self._quiet and (now := view.running()):
            step, seconds = now
            self._line(f"{step.name}: {step.title.lower()}, {duration(seconds)} so far", "dim")
        self._quiet = True

    def close(self) -> None:
        """End an unfinished line."""
        self._end_line()

    @property
    def at_a_line(self) -> bool:
        """Whether what is written next begins a line."""
        return not self._mid_line

    def ask(self, lines: list[str], prompt: str) -> None:
        """Begin the line that a person ends, or what has to be told in between."""
        for line in lines:
            self._line(line)
        self._write(prompt, "bold", end="")
        self._console.file.flush()
        self._mid_line = self._asks = True

    def typed(self) -> None:
        """Know that a person has ended the line."""
        self._mid_line = self._asks = False

    def _message(self, data: Data, view: View) -> None:
        for line in plain(data["text"]).split("\n"):
            self._write(f"> {line}", "bold")
        if (whole := data["textBytes"] or 0) > len(data["text"].encode()):
            where = f"{self._command} show {view.session_id}"
            self._line(f"> … ({counted(whole, 'byte')} in all: {where})", "dim")

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
        if said := spent(data.get("usage", {})):
            self._line(said, "dim")

    def _progress(self, view: View) -> None:
        for step, now, before in self._note_steps(view):
            # A step that has nothing to do is no work, however short.
            idle = step.name == "setup" and step.status == "running" and view.setup_commands == 0
            if now != before and step.status != "pending" and not idle:
                self._line(_step_line(step, now, before), MARKS.get(step.status, ("", ""))[1])

    def _note_steps(self, view: View) -> list[tuple[Step, _Shown, _Shown | None]]:
        """Return each step, how it is to be shown now and how it was shown before."""
        noted = []
        for step in view.steps.values():
            percent = (step.percent or 0) // _PERCENT_STEP * _PERCENT_STEP
            now = (view.attempt_number, step.status, percent if step.status == "running" else 0)
            noted.append((step, now, self._shown_steps.get(step.name)))
            self._shown_steps[step.name] = now
        return noted

    def _part(self, part_id: str, view: View) -> None:
        part = view.parts[part_id]
        if part.kind in {"text", "error"}:
            shown = self._shown_text.get(part_id, "")
            if not part.text.startswith(shown):
                self._end_line()
                shown = ""
            self._text(part.text[len(shown) :])
            self._shown_text[part_id] = part.text
            if part.final:
                self._end_line()
                self._gone(part_id, view)
        elif part.kind == "tool":
            self._note(part_id, tools.line(part.data, part.seconds, self._console.width))
            if tools.ended(part.data) and (self._verbose or tools.failed(part.data)):
                self._output(part_id, view)
        elif part.kind == "patch":
            self._note(part_id, f"▸ changed {', '.join(part.data.get('files', []))}")

    def _note(self, part_id: str, said: str, style: str = "cyan") -> None:
        """Write once what is said of a part."""
        if (part_id, said) not in self._shown_notes:
            self._shown_notes.add((part_id, said))
            self._line(said, style)

    def _output(self, part_id: str, view: View) -> None:
        """Write what a tool printed, or without `verbose` the end of it."""
        if part_id in self._shown_text:
            return
        lines = tools.printed(view.parts[part_id].data)
        self._shown_text[part_id] = "\n".join(lines)
        if not self._verbose and len(lines) > _TAIL_LINES:
            where = f"{self._command} follow {view.session_id} --verbose"
            lines = [f"… (all of it: {where})", *lines[-_TAIL_LINES:]]
        for line in lines:
            self._write(f"  │ {line}", "dim")
        self._gone(part_id, view)

    def _gone(self, part_id: str, view: View) -> None:
        """Say once that a text is not all there."""
        part = view.parts[part_id]
        if part.data.get("truncated"):
            self._note(part_id, f"({gone('this')})", "yellow")
        elif part.missing:
            more = f"{counted(part.missing, 'byte')} more of this can't be had now"
            # Of a tool's output it is shown on demand.
            verbose = " --verbose" if part.kind == "tool" else ""
            later = f"try again later: {self._command} follow {view.session_id}{verbose}"
            self._note(part_id, f"({more}; {later})", "yellow")

    def _inputs(self, kind: str, data: Data, view: View) -> None:
        """Write what is asked and how that ended; of what was over before, neither."""
        request_id = data.get("requestId")
        if kind in {"input.requested", CAUGHT_UP}:
            for asked in view.inputs.open.values():
                new = asked.request_id not in self._shown_inputs
                if new and request_id in {None, asked.request_id}:
                    self._ask(asked, view.session_id)
        elif kind == "input.resolved" and request_id in self._shown_inputs:
            self._line(answered(data), "dim", indent="  ")

    def _ask(self, asked: PendingInput, session_id: str) -> None:
        self._shown_inputs.add(asked.request_id)
        lines, answer = _request(asked)
        for line in lines:
            self._write(line, "bold yellow")
        words = [session_id, asked.request_id, *answer]
        if asked.request_id.startswith("-"):
            words = [*answer, "--", session_id, asked.request_id]
        # What is shown of a word with something hidden in it would name something else.
        if self._answers or any(flat(word) != word for word in words):
            return
        self._line(f"{self._command} answer {shlex.join(words)}", indent="  ")

    def _text(self, text: str) -> None:
        if text := plain(text):
            if self._asks:
                self._end_line()
            self._quiet = False
            verbatim(self._console, text)
            self._mid_line = not text.endswith("\n")

    def _line(self, text: str, style: str = "", indent: str = "") -> None:
        """Write what is one line whatever is in it, so that nobody else can write one like it."""
        self._write(indent + flat(text), style)

    def _write(self, text: str, style: str, end: str = "\n") -> None:
        self._end_line()
        self._quiet = False
        verbatim(self._console, text, style, end=end)

    def _end_line(self) -> None:
        if self._mid_line:
            self._console.print()
            self._mid_line = self._asks = False


def _step_line(step: Step, now: _Shown, before: _Shown | None) -> str:
    if step.status == "running":
        again = before is not None and before[:2] == now[:2]
        return f"{step.name}: {now[2]}%" if again else f"{step.name}: {step.title.lower()}"
    said = step.detail()
    message = f": {said.removeprefix('Skipped: ')}" if said else ""
    if step.status == "skipped":
        return f"{step.name}: skipped{message}"
    if step.status == "cancelled":
        return f"{step.name}: {STOPPED} after {duration(step.elapsed)}"
    return f"{step.name}: {step.status} after {duration(step.elapsed)}{message}"


def _request(asked: PendingInput) -> tuple[list[str], list[str]]:
    """Return what is asked, a line a question, and the options of the command that answers it."""
    if asked.kind == "permission":
        first, *more = _told(f"May the agent do this? {permission(asked)}")
        return [f"? {first}", *(f"?   {line}" for line in more)], ["--reply", "once"]
    lines, choices = [], []
    for text, labels, *_ in questions(asked):
        question = f"{text} ({' / '.join(labels)})" if labels else text
        lines.append(f"? {' '.join(_told(question))}")
        label = labels[0] if labels else "TEXT"
        choices += [f"--choose={label}"] if label.startswith("-") else ["--choose", label]
    return lines or ["? The agent asks something"], choices or ["--reject"]


def _told(text: str) -> list[str]:
    """Return the lines of what an agent asks, with nothing hidden in them."""
    return [flat(line) for line in visible(text).split("\n") if line.strip()]
