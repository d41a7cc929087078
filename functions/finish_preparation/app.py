"""The end of every attempt: success, or the target of every Catch."""

from typing import TYPE_CHECKING, Any

from headstart.bootstrap import Event, Services, entry
from headstart.usecases.prepare import error_of, fail_preparation, finish_preparation

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@entry
def lambda_handler(event: Event, _: "LambdaContext", services: Services) -> Any:
    session_id, attempt_number = event["sessionId"], event["attemptNumber"]
    if caught := event.get("error"):
        error = error_of(caught)
        fail_preparation(services, session_id, attempt_number, error)
        # Executions keep what they are told; the reason is in the table.
        return {"code": error.code, "reason": error.title}
    finish_preparation(services, session_id, attempt_number)
    return {}
