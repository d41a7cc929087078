"""What the agent asks a person, from its question to what it makes of the answer."""

import pytest

from tests.flow.conftest import Cloud


@pytest.mark.parametrize(
    ("prompt", "body", "heard"),
    [
        ("Please ask me first", {"reply": "once"}, "You allowed it this once."),
        ("Please ask me a question", {"answers": [["Write a test"]]}, "You chose: Write a test."),
    ],
)
def test_a_turn_waits_for_a_person(cloud: Cloud, prompt: str, body: object, heard: str) -> None:
    session_id = cloud.create(prompt=prompt)["sessionId"]
    with cloud.watch(session_id) as viewer:
        request = viewer.until_type("input.requested")["data"]["requestId"]
        path = f"/sessions/{session_id}/inputs/{request}"
        assert cloud.client().post(path, json=body).status_code == 202
        resolved = viewer.until_type("input.resolved")
        assert resolved["data"] == {
            "requestId": request,
            "outcome": "answered",
            "answer": body,
        }
        viewer.until_type("turn.completed")
    said = [e["data"].get("text", "") for e in cloud.events(session_id)]
    assert any(heard in text for text in said)
    assert cloud.client().post(path, json=body).status_code in {404, 409}
