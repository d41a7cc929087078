"""What the page makes of hostile input: odd events, long answers, hidden answers."""

import random
from typing import Any

from test_client_reducer import reduce
from web_page import needs_node

from headstart_client.events import DATA
from headstart_client.shapes import PERMISSION, QUESTIONS, Shape

pytestmark = needs_node


def odd(chance: random.Random, depth: int = 3) -> Any:
    """Anything that JSON can say and each language reads alike."""
    names = ["partId", "__proto__", "toString", "steps", "length", ""]
    leaves = [None, True, False, -1, 0, 2, 10**15, 1.5, "", "text", "\u202e", "__proto__"]
    if depth == 0 or chance.random() < 0.5:
        return chance.choice(leaves)
    inner = [odd(chance, depth - 1) for _ in range(chance.randrange(3))]
    return inner if chance.random() < 0.5 else {chance.choice(names): one for one in inner}


def nearly(chance: random.Random, shape: Shape) -> Any:
    """A value as a shape wants it, but for anything in some places."""
    if chance.random() < 0.2:
        return odd(chance)
    if isinstance(shape, dict):
        return {name: nearly(chance, s) for name, s in shape.items() if chance.random() < 0.8}
    if isinstance(shape, list):
        return [nearly(chance, shape[0]) for _ in range(chance.randrange(3))]
    return chance.choice(["running", "permission", "question", "text", "tool", "patch", "a", 1, 2])


def frames(seed: int) -> list[dict[str, Any]]:
    """Frames with events of all types, some out of order, some of none."""
    chance = random.Random(seed)
    kinds = [*DATA, "new.in.2027", "__proto__", "constructor", "toString"]
    made: list[Any] = [odd(chance)]
    for event_id, kind in enumerate(chance.sample(kinds, len(kinds)), start=1):
        data = nearly(chance, DATA.get(kind, {}))
        if kind == "input.requested" and isinstance(data, dict):
            data["body"] = nearly(chance, chance.choice([PERMISSION, QUESTIONS]))
        identity = chance.choice([event_id, event_id, None, odd(chance)])
        made.append({"eventId": identity, "type": kind, "data": data, "timestamp": odd(chance)})
    others = [
        {"type": kind, "through": odd(chance), "more": odd(chance), "lastEventId": odd(chance)}
        for kind in ("replayed", "pong", "__proto__", odd(chance))
    ]
    return [{"type": "events", "events": [event]} for event in made] + others


def test_no_event_can_stop_the_page_and_both_viewers_apply_the_same(page):
    seeds = [frames(seed) for seed in range(150)]
    steps = [{"after": 0, "steps": [{"frame": frame} for frame in all_of]} for all_of in seeds]
    answers = page(read=seeds, reducer=steps)
    assert len(answers["read"]) == len(seeds)
    for step, answer in zip(steps, answers["reducer"], strict=True):
        assert answer == reduce(0, step["steps"])


def events(*of: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    made = [{"eventId": n, "type": kind, "data": data} for n, (kind, data) in enumerate(of, 1)]
    return [{"type": "events", "events": made}]


def test_odd_tools_and_patches_are_shown_with_what_they_have(page):
    odd_ones = events(
        ("agent.event", {"kind": "tool", "partId": "a", "tool": None, "title": {"x": 1}}),
        ("agent.event", {"kind": "patch", "partId": "b", "files": 5}),
        ("agent.event", {"kind": "error"}),
    )
    opened = [{"eventId": None, "type": "agent.snapshot", "data": {"parts": [{"kind": "patch"}]}}]
    answer = page(read=[odd_ones, [{"type": "events", "events": opened}]])["read"]
    assert answer[0]["items"] == ['tool {"x":1} ', "Changed 5", "The agent reported an error."]
    assert answer[1]["items"] == ["Changed "]


def test_a_part_can_not_take_the_place_of_what_a_person_wrote(page):
    shown = page(
        read=[
            events(
                ("message.queued", {"messageId": "msg_1", "text": "mine"}),
                ("turn.started", {"messageId": "msg_1"}),
                ("agent.event", {"kind": "text", "partId": "msg_1", "text": "theirs"}),
            )
        ]
    )["read"][0]
    assert shown["items"] == ["mine", "theirs"]


def test_what_can_not_be_seen_is_left_out_and_spelled_out_where_it_turns_or_a_person_decides(page):
    command = "rm -rf ~ #\u202e txt.\nls\x1b[8m"
    option = {"label": "yes\u200b"}
    shown = page(
        read=[
            events(
                ("message.queued", {"messageId": "m", "text": "a\u202eb\u200b"}),
                ("turn.started", {"messageId": "m"}),
                ("agent.event", {"kind": "text", "partId": "a", "text": "c `d\u2066` e\u2028f"}),
                ("agent.event", {"kind": "tool", "partId": "b", "tool": "\u200bbash"}),
                ("agent.event", {"kind": "patch", "partId": "c", "files": ["a\u202e"]}),
                ("input.requested", {
                    "requestId": "p", "kind": "permission",
                    "body": {"title": "bash", "patterns": [command]},
                }),
                ("input.requested", {
                    "requestId": "q", "kind": "question",
                    "body": {"questions": [{"question": "Sure\u061c?", "options": [option]}]},
                }),
            )
        ]
    )["read"][0]  # fmt: skip
    said = [r"a\u202eb", r"c `d\u2066` ef", "bash  ", r"Changed a\u202e"]
    assert shown["items"] == said
    assert r"bash: rm -rf ~ #\u202e txt." + "\nls" + r"\u001b[8m" in shown["cards"][0]
    assert r"Sure\u061c?" in shown["cards"][1]
    assert r"yes\u200b" in shown["cards"][1]


def test_an_answer_that_the_browser_hides_ends_the_wait_and_is_said(page):
    answer = page(unreadable={"healthy": True, "giveUpAfter": 3})["unreadable"]
    assert (answer["code"], answer["lost"]) == ("Hidden", 0)
    asked = [url for url, _, _ in answer["requests"]]
    looks = ["https://api/health", "https://api/sessions?limit=1"]
    assert asked == ["https://api/sessions/ses_1/stream-ticket", *looks] * 4


def test_one_lost_answer_is_no_refused_token(page):
    answer = page(unreadable={"healthy": True, "listed": True, "giveUpAfter": 2})["unreadable"]
    assert (answer["code"], answer["lost"]) == (None, 2)


def test_what_no_pause_lifts_is_said_at_once_and_a_throttle_is_waited_out(page):
    full = [
        [429, {"code": code, "detail": "Too many", "retryable": True}]
        for code in ("QuotaExceeded", "QueueFull")
    ]
    throttled = [429, {"message": "Too Many Requests"}]
    answers = page(repeats=[*full, throttled])["repeats"]
    assert answers == [[1, "Too many"], [1, "Too many"], [4, "Too Many Requests"]]


def test_where_nobody_is_it_goes_on_trying(page):
    answer = page(unreadable={"healthy": False, "giveUpAfter": 3})["unreadable"]
    assert (answer["code"], answer["lost"]) == (None, 3)


def test_a_connection_that_is_accepted_and_then_silent_is_given_up_soon(page):
    answer = page(silent={})["silent"]
    assert answer["lost"] == [10, "the cloud stopped answering"]
    assert answer["sent"] == ["subscribe", "ping"]


def test_a_token_goes_to_its_own_address_and_follows_no_redirect(page):
    requests = page(unreadable={"healthy": True, "giveUpAfter": 1})["unreadable"]["requests"]
    for url, authorization, redirect in requests:
        assert redirect == "error"
        assert authorization == (None if url.endswith("/health") else "Bearer token")


def tool(name: str, given: dict[str, Any], title: str = "", **told: Any) -> dict[str, Any]:
    data = {"kind": "tool", "tool": name, "title": title, "status": "completed", "input": given}
    return {"data": {**data, **told.pop("data", {})}, "now": 0, **told}


def test_a_tool_says_what_it_was_given(page):
    edit = {"filePath": "a.py", "oldString": "a\nb\nc", "newString": "a\nx\ny\nc\n"}
    tools = [
        tool("bash", {"command": "npm ci\nnpm test"}, "Install"),
        tool("bash", {"command": "ls"}, "ls"),
        tool("edit", edit, "a.py"),
        tool("edit", {"file_path": "b", "old_string": "", "new_string": "new"}),
        tool("write", {"filePath": "c", "content": "one\ntwo"}),
        tool("patch", {"patchText": "-a\n+b"}),
        tool("read", {"filePath": "d\u202e"}),
        tool("grep", {"pattern": "x", "path": "src"}),
        tool("odd", {"command": 5}),
    ]
    assert [[deed, given] for deed, _, given in page(tools=tools)["tools"]] == [
        ["Install: npm ci", ["$ npm ci\nnpm test"]],
        ["ls", ["$ ls"]],
        ["a.py", [" a\n-b\n+x\n+y\n c"]],
        ["b", ["+new"]],
        ["c", ["+one\n+two"]],
        ["", ["-a\n+b"]],
        ["d\u202e", []],
        ["src", ['{\n "pattern": "x",\n "path": "src"\n}']],
        ["", ['{\n "command": 5\n}']],
    ]


def test_a_very_deep_input_is_told_as_far_as_it_can_be(page):
    answer = page(deep=[100_000])["deep"]
    assert answer[0].startswith('{\n "a": [\n  [')
    assert "…" in answer[0]


def test_a_tool_says_how_it_ended_and_how_long_it_takes(page):
    running = {"data": {"status": "running"}, "beganAt": 1000}
    tools = [
        tool("t", {}, beganAt=1000, endedAt=1900),
        tool("t", {}, beganAt=1000, endedAt=64_000),
        tool("t", {}, data={"status": "error"}, beganAt=1000, endedAt=3000),
        tool("t", {}, data={"status": "completed", "exitCode": 7}, beganAt=1000, endedAt=3000),
        tool("t", {}, data={"status": "completed", "exitCode": 0}, beganAt=1000, endedAt=3000),
        tool("t", {}, **{**running, "now": 5000}),
        tool("t", {}, **{**running, "now": 0}),
        tool("t", {}, **running, cut="stopped"),
        tool("t", {}, **running, cut="lost"),
    ]
    assert [state for _, state, _ in page(tools=tools)["tools"]] == [
        "", "1 min 3 s", "failed 2 s", "exit 7 2 s", "2 s", "running 4 s", "running",
        "stopped", "its end is not known",
    ]  # fmt: skip


def test_an_output_is_shown_as_a_terminal_would_without_its_codes(page):
    outputs = ["\x1b[1;31mred\x1b[0m", "10%\r50%\r100%\ndone\r\n", "\x1b]0;title\x07a\x08b\u202e"]
    assert page(outputs=outputs)["outputs"] == ["red", "100%\ndone\n", r"ab\u202e"]


def test_an_answer_stands_under_its_message_and_what_waits_below_all(page):
    def queued(number: int) -> tuple[str, dict[str, Any]]:
        return "message.queued", {"messageId": f"m{number}", "text": f"message {number}"}

    def turn(number: int) -> list[tuple[str, dict[str, Any]]]:
        begun = {"turnId": f"t{number}", "messageId": f"m{number}"}
        said = {"kind": "text", "partId": f"p{number}", "text": f"answer {number}"}
        return [("turn.started", begun), ("agent.event", said), ("turn.completed", begun)]

    three = [queued(1), queued(2), queued(3), queued(4)]
    shown = page(
        read=[
            events(*three, *turn(1), ("message.withdrawn", {"messageId": "m3"})),
            events(*three, *turn(1), *turn(2), *turn(3)),
            events(
                *three,
                ("turn.started", {"turnId": "t", "messageId": "m1"}),
                ("session.ready", {}),
            ),
            *(
                events(*three, ("session.failed", {"failure": {"retryable": r}}))
                for r in (True, False)
            ),
        ]
    )["read"]
    assert shown[0]["items"] == ["message 1", "answer 1"]
    assert [text for text, *_ in shown[0]["waiting"]] == ["message 2", "message 4"]
    assert shown[1]["items"] == [f"{what} {n}" for n in (1, 2, 3) for what in ("message", "answer")]
    assert shown[2]["activity"] == "The agent is thinking"
    assert shown[2]["waiting"][0] == ["message 2", "waits for its turn", "Withdraw"]
    # Of what failed for good no other try is promised.
    ways = [session["waiting"][1][1] for session in shown[3:]]
    assert ways == ["waits for another try", "is not sent any more"]
