"""The live display of a terminal: all steps while a session prepares."""

import time
from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from headstart_client.models import Event
from headstart_client.receipts import about, duration
from headstart_client.screen import MARKS, STOPPED, LineScreen
from headstart_client.text import flat, last_line
from headstart_client.view import Step, View


class LiveScreen(LineScreen):
    """The same on a terminal, with all steps on display while the session prepares."""

    def __init__(
        self,
        console: Console,
        command: str = "headstart",
        *,
        answers: bool = False,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(console, command, answers=answers, verbose=verbose)
        self._clock = clock
        self._live: Live | None = None

    def show(self, event: Event, view: View) -> None:
        """Keep the display while there is nothing to read yet, then write the answer."""
        match event.type:
            case "session.preparing" | "preparing":
                self._start(view)
            case "session.ready":
                # What is said of it comes below the steps that led to it.
                self._stop()
                super().show(event, view)
                if view.caught_up:
                    self._think()
                return
            case "session.snapshot":
                if view.status == "preparing":
                    self._start(view)
            case "session.prepared" | "session.failed" | "session.asleep" | "turn.retrying":
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
        if self._live:
            self._live.stop()
            self._live = None

    def tick(self, view: View) -> None:
        """The display moves by itself."""

    def _think(self) -> None:
        since = self._clock()
        # Transient, as the answer takes its place.
        self._live = Live(
            get_renderable=lambda: _thinking(self._clock() - since),
            console=self._console,
            refresh_per_second=8,
            transient=True,
        )
        self._live.start()

    def _start(self, view: View) -> None:
        if self._live is None:
            self._end_line()
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
        grid.add_column(justify="right", min_width=8, no_wrap=True)
        grid.add_column()
        steps = list(view.steps.values())
        for step in steps if view.setup_commands != 0 else [s for s in steps if s.name != "setup"]:
            grid.add_row(*_step_row(step, now))
        return grid


def _thinking(seconds: float) -> RenderableType:
    return Spinner("dots", Text(f"the agent is thinking… {duration(seconds)}", "dim"))


def _step_row(step: Step, now: float) -> list[RenderableType]:
    mark, style = MARKS.get(step.status, ("", ""))
    began = step.status not in {"pending", "skipped"}
    still = f", {about(step.left(now))} left" if step.left(now) else ""
    elapsed = Text(f"{duration(step.seconds(now))}{still}" if began else "", "dim")
    icon: RenderableType = Text(mark, style)
    detail: RenderableType = Text("")
    if step.status == "running":
        icon = Spinner("dots")
        line = flat(last_line(step.output) or step.detail() or "")
        detail = Text(line, "dim", no_wrap=True, overflow="ellipsis")
        if step.percent is not None:
            grid = Table.grid(padding=(0, 1))
            bar = ProgressBar(total=100, completed=step.percent, width=24, complete_style="green")
            grid.add_row(bar, f"{step.percent:3d}%", detail)
            detail = grid
    elif step.status != "pending":
        # How it ended is read once and may be several sentences: nothing of it is cut.
        done = step.status == "completed"
        said = step.detail() or ("" if done else step.status)
        if step.status == "cancelled":
            said = STOPPED
        detail = Text(flat(said), "dim" if done else style)
    title = Text(flat(step.title), "dim" if step.status == "pending" else "")
    return [icon, title, elapsed, detail]
