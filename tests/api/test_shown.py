"""What GET answers of a session whose sandbox says much is what is written down."""

from headstart.adapters.memory import MemoryPorts
from headstart.domain.failure import Failure
from headstart.domain.message import Input
from headstart.domain.steps import StepName
from headstart.usecases.commit import read
from headstart_docs.answers import SessionView
from headstart_docs.in_process import Api
from tests.api.test_bad_input import VALID


def test_a_long_question_says_that_it_is_cut_and_a_step_says_no_more_than_it_should(
    api: Api, ports: MemoryPorts
) -> None:
    session_id = api.call("POST", "/sessions", VALID).json["sessionId"]
    change = read(ports, session_id)
    body = {"title": "x" * 100_000}
    change.save(
        Input(request_id="r", turn_id="t", kind="permission", body=body, created_at=change.now)
    )
    change.session.pending_inputs = ["r"]
    step = change.attempt.step(StepName.CLONE)
    step.tries = 2
    step.failure = Failure(code="GitNetworkError", reason="y" * 100_000, retryable=True)
    step.__pydantic_extra__ = {"fromTomorrow": "z"}
    change.save(change.attempt)
    ports.store.commit(change)
    answer = api.call("GET", f"/sessions/{session_id}")
    shown = SessionView.model_validate_json(answer.text)
    assert [asked.truncated for asked in shown.pending_inputs] == [True]
    assert len(answer.text) < 70_000
