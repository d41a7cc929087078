"""How long things took, in words: a duration, and a whole preparation's receipt."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from headstart_client.amounts import counted
from headstart_client.rest import ago
from headstart_client.shapes import count, number
from headstart_client.text import flat
from headstart_client.verbatim import verbatim
from headstart_client.view import Data, View


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
            table.add_row(Text(flat(line["step"])), duration(line["elapsedMs"] / 1000))
    table.add_row("ready, in all", duration(view.receipt["totalMs"] / 1000))
    if view.receipt["preparedTree"]:
        table.add_row(*_tree(view.receipt["preparedTree"]))
    if first_word is not None:
        table.add_row("first word of the answer", duration(first_word), "after the POST")
    console.print()
    with console.capture() as told:
        console.print(table)
    for line in told.get().splitlines():
        # A table fills its lines up, which in a log is noise.
        verbatim(console, line.rstrip(), end="\n")


def took(paid: Data) -> str:
    """Return how long a preparation took, and what a prepared tree saved of it."""
    tree = "; " + " ".join(_tree(paid["preparedTree"])) if paid["preparedTree"] else ""
    return duration(paid["totalMs"] / 1000) + tree


def _tree(tree: Data) -> tuple[str, str]:
    """Return which prepared tree it began with, and what that saved."""
    return f"a prepared tree of {ago(tree['age'])}", f"saved {duration(tree['saved'] / 1000)}"


def duration(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def about(seconds: float) -> str:
    """Return about how long something takes, as the page says it."""
    return (
        f"about {max(1, round(seconds))} s" if seconds < 90 else f"about {round(seconds / 60)} min"
    )


def spent(usage: Data) -> str:
    """Return what a turn cost, empty where that is nothing or not known."""
    parts = [
        f"{counted(count(usage.get(name)), 'token')} {way}"
        for name, way in (("inputTokens", "in"), ("outputTokens", "out"))
        if count(usage.get(name))
    ]
    if cost := number(usage.get("cost")):
        parts.append(f"${cost:.4f}" if cost < 1 else f"${cost:.2f}")
    return ", ".join(parts)
