"""Answering what the agent asks on the terminal that shows it, while the session is followed."""

import asyncio
import os
import sys
from typing import Any

from headstart_client.client import AsyncHeadstart
from headstart_client.errors import HeadstartError, NotFound
from headstart_client.inputs import Question, questions
from headstart_client.models import PendingInput
from headstart_client.screen import LineScreen
from headstart_client.terminal import Terminal
from headstart_client.view import View

_REPLIES = {
    **dict.fromkeys(["o", "once", "y", "yes"], "once"),
    **dict.fromkeys(["a", "always"], "always"),
    **dict.fromkeys(["r", "reject", "n", "no"], "reject"),
}
_LINE_BYTES = 64 * 1024


def chosen(labels: list[str], line: str) -> list[str] | None:
    """Return the options that a line names by their numbers, else the line as words of its own.

    None where it has numbers alone and one that no option has: who mistypes is asked again.
    """
    numbers = line.replace(",", " ").split()
    if not (labels and numbers and all(one.isdecimal() for one in numbers)):
        return [line]
    known = {str(number): label for number, label in enumerate(labels, 1)}
    if not all(one in known for one in numbers):
        return None
    return [known[one] for one in numbers]


def _questions(asked: PendingInput) -> list[Question]:
    # A question without words is still one: what is typed answers it.
    return questions(asked) or [Question("", [], [], multiple=False)]


class Asker:
    """Asks for one answer after the other, for as long as its question is open.

    Lines are read by the loop, not by a thread: a question may be answered elsewhere, or the
    session end, and then nothing must be left waiting for the keyboard.
    """

    def __init__(
        self, terminal: Terminal, screen: LineScreen, client: AsyncHeadstart, session_id: str
    ) -> None:
        self._terminal = terminal
        self._screen = screen
        self._client = client
        self._session_id = session_id
        self._asked: PendingInput | None = None
        self._answers: list[list[str]] = []
        self._sent: set[str] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._reads = False
        self._partial = b""

    def look(self, view: View) -> None:
        """Ask what is open and was not answered yet, or leave off what is over."""
        if not view.caught_up:
            return
        if self._asked and self._asked.request_id not in view.inputs.open:
            self.leave()
        if self._asked and self._screen.at_a_line:
            # Something else was told behind the question.
            self._prompt()
        waiting = (a for a in view.inputs.open.values() if a.request_id not in self._sent)
        if self._asked is None and (asked := next(waiting, None)):
            self._asked, self._answers, self._partial = asked, [], b""
            self._prompt()
            self._listen()

    def leave(self) -> None:
        """Leave the keyboard to others."""
        self._asked = None
        if self._reads:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._reads = False

    def _listen(self) -> None:
        if not self._reads:
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._read)
            self._reads = True

    def _prompt(self) -> None:
        if self._asked is None:
            return
        if self._asked.kind == "permission":
            self._screen.ask([], "  (o)nce, (a)lways or (r)eject? ")
            return
        one = _questions(self._asked)[len(self._answers)]
        lines = [f"  {one.text}"] if len(questions(self._asked)) > 1 else []
        for number, (label, described) in enumerate(zip(*one[1:3], strict=True), 1):
            lines.append(f"  {number} {label}{f' - {described}' if described else ''}")
        numbers = "numbers such as 1,2" if one.multiple else "a number"
        words = f"  {numbers}, or words of yours: " if one.labels else "  your answer: "
        self._screen.ask(lines, words)

    def _read(self) -> None:
        data = os.read(sys.stdin.fileno(), _LINE_BYTES)
        if not data:
            self.leave()
            return
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._screen.typed()
            self._take(line.decode(errors="replace").strip())

    def _take(self, line: str) -> None:
        asked = self._asked
        if asked is None:
            return
        body: dict[str, Any] | None = None
        if asked.kind == "permission":
            reply = _REPLIES.get(line.lower())
            body = {"reply": reply} if reply else None
            if line and not reply:
                self._terminal.note(f"{line} is none of o, a and r")
        elif line:
            found = _questions(asked)
            now = found[len(self._answers)]
            answer = chosen(now.labels, line)
            if answer is None:
                self._terminal.note(f"There is no such option: they are 1 to {len(now.labels)}")
            elif len(answer) > 1 and not now.multiple:
                self._terminal.note("Only one can be chosen")
            else:
                self._answers.append(answer)
            body = {"answers": self._answers} if len(self._answers) == len(found) else None
        if body is None:
            self._prompt()
            return
        self._sent.add(asked.request_id)
        self.leave()
        sending = asyncio.get_running_loop().create_task(self._send(asked.request_id, body))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send(self, request_id: str, body: dict[str, Any]) -> None:
        try:
            await self._client.answer_input(self._session_id, request_id, body)
        except NotFound:
            self._terminal.note("That was answered elsewhere, or is not asked any more")
        except HeadstartError as error:
            self._terminal.note(f"The answer was not taken: {error}")
            self._sent.discard(request_id)
