"""What the tests of long texts share: the texts that come of pieces, as the cloud has them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fake_cloud import FakeCloud

from headstart.domain.long_texts import REF, WRITER

Json = dict[str, Any]


@dataclass
class Said:
    """A text of one writing."""

    writer: str = ""
    pieces: list[str] = field(default_factory=list)
    ended: bool = False
    truncated: bool = False

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def texts_of(events: Iterable[Json]) -> dict[str, Said]:
    """Put texts together; pieces must come in order and without a hole."""
    found: dict[str, Said] = {}
    for event in events:
        if event["type"] != "text":
            continue
        assert re.fullmatch(REF, event["ref"])
        assert re.fullmatch(WRITER, event["writer"])
        said = found.setdefault(event["ref"], Said())
        if event["writer"] != said.writer:
            assert event["offset"] == 0
            said = found[event["ref"]] = Said(event["writer"])
        assert not said.ended
        assert event["offset"] == len(said.text.encode())
        said.pieces.append(event["text"])
        said.ended, said.truncated = event["last"], event["truncated"]
    return found


async def log_of(cloud: FakeCloud, command_id: str = "1.setup.1") -> Said:
    """Return a step's log once it is over."""
    number, step, _ = command_id.split(".")
    ref = f"log.{number}.{step}"

    def ended() -> bool:
        said = texts_of(cloud.events).get(ref)
        return said is not None and said.ended

    await cloud.until(ended)
    return texts_of(cloud.events)[ref]
