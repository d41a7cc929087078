"""What sessions do, told as the events that come of it."""

from typing import Any

from fake_headstart import STEPS


def preparing(
    revision: int, step: str, status: str, elapsed: int = 0, **more: Any
) -> tuple[str, dict[str, Any]]:
    return "preparing", {
        "attemptNumber": more.pop("attempt", 1),
        "revision": revision,
        "step": step,
        "status": status,
        "elapsedMs": elapsed,
        **more,
    }


def receipt(attempt: int = 1) -> dict[str, Any]:
    steps = [{"step": name, "status": "completed", "elapsedMs": 100} for name in STEPS]
    steps[5]["status"] = "skipped"
    return {"receipt": {"attemptNumber": attempt, "totalMs": 1234, "steps": steps}}


def good_start(text: str = "Say hello") -> list[tuple[str, dict[str, Any]]]:
    """A preparation as it goes, up to the delivery of the prompt."""
    return [
        ("session.preparing", {"attemptNumber": 1, "cause": "created"}),
        ("message.queued", {"messageId": "msg_1", "position": 1, "text": text}),
        preparing(1, "sandbox", "running"),
        preparing(2, "sandbox", "completed", 1500),
        preparing(3, "disk", "running"),
        preparing(4, "disk", "completed", 20),
        preparing(5, "clone", "running", 0, percent=3, message="Receiving objects"),
        preparing(6, "clone", "running", 500, percent=30, message="Receiving objects"),
        preparing(6, "clone", "running", 700, percent=45, message="Receiving objects"),
        preparing(7, "clone", "running", 900, percent=99, message="Resolving deltas"),
        preparing(8, "clone", "completed", 1200, percent=100),
        preparing(9, "branch", "running"),
        preparing(10, "branch", "completed", 30),
        preparing(11, "restore", "running"),
        preparing(12, "restore", "completed", 40),
        preparing(13, "setup", "skipped", 0, message="no commands"),
        preparing(14, "agent", "running"),
        preparing(15, "agent", "completed", 800),
        preparing(16, "deliver", "running"),
    ]


def good_turn(turn: str = "turn_1", message: str = "msg_1") -> list[tuple[str, dict[str, Any]]]:
    """A turn with a tool and a streamed answer."""
    tool = {"kind": "tool", "partId": f"{turn}.a", "tool": "bash", "title": "ls -l"}
    text = {"kind": "text", "messageId": "m", "partId": f"{turn}.b"}
    return [
        ("message.delivered", {"messageId": message}),
        ("turn.started", {"turnId": turn, "messageId": message}),
        ("agent.event", {**tool, "status": "running"}),
        ("agent.event", {**tool, "status": "completed", "output": "x"}),
        ("agent.delta", {"partId": text["partId"], "offset": 0, "text": "Hello, "}),
        ("agent.delta", {"partId": text["partId"], "offset": 7, "text": "world"}),
        ("agent.event", {**text, "text": "Hello, world."}),
        ("turn.completed", {"turnId": turn, "messageId": message, "usage": {}}),
    ]


def good_session() -> list[tuple[str, dict[str, Any]]]:
    """All of it; `session.ready` comes once the agent has the prompt, as in the cloud."""
    turn = good_turn()
    done = preparing(17, "deliver", "completed", 60)
    return [*good_start(), *turn[:2], done, ("session.ready", receipt()), *turn[2:]]
