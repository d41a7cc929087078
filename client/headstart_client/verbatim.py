"""Writing what a stranger wrote, character by character."""

from rich.console import Console
from rich.segment import Segment, Segments


def verbatim(console: Console, text: str, style: str = "", *, end: str = "") -> None:
    """Write text and nothing else."""
    # Of a str, rich replaces `:100:` by an emoji; of that and a Text, tabs by spaces.
    look = console.get_style(style) if style else None
    console.print(Segments([Segment(text, look), Segment(end)]), end="", soft_wrap=True)
