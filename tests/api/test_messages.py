"""GET …/messages, a page at a time."""

from typing import Any
from urllib.parse import quote

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart_docs.answers import MessagePage
from headstart_docs.in_process import Api
from tests.api.test_bad_input import VALID, encoded, places


@pytest.fixture
def target(api: Api) -> str:
    session_id = api.call("POST", "/sessions", VALID).json["sessionId"]
    return f"/sessions/{session_id}/messages"


def test_a_page_leads_to_the_next(api: Api, ports: MemoryPorts, target: str) -> None:
    ports.policy.queued_messages = 200
    for number in range(120):
        assert api.call("POST", target, {"prompt": f"more {number}"}).status == 202
    texts: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = api.call("GET", f"{target}?cursor={quote(cursor)}")
        MessagePage.model_validate_json(answer.text)
        texts += [item["text"] for item in answer.json["items"]]
        cursor = answer.json["nextCursor"]
    assert texts == [VALID["prompt"], *(f"more {number}" for number in range(120))]


@pytest.mark.parametrize(
    "value",
    ["x", encoded(1), encoded("x"), encoded("-1"), encoded("0"), encoded("01"), encoded(" 7"),
     encoded("1_0"), encoded("٣"), encoded("1" * 7), encoded("1" * 100)],
)  # fmt: skip
def test_a_cursor_that_is_none(api: Api, target: str, value: str) -> None:
    assert places(api.call("GET", f"{target}?cursor={value}")) == [["query", "cursor"]]
