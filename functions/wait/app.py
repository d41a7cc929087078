"""The long polls, apart from the rest so that waiters never hold up the fast path."""

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import Response

from headstart.bootstrap import Event, Services, entry, services
from headstart.domain.session import Status
from headstart.http import answer, new_app, owner, session_id, whole_number
from headstart.usecases.read import WAIT_LIMIT_SECONDS, check_status, wait_while

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

app = new_app()


@app.get("/sessions/<id_>/wait")
def wait(id_: str) -> Response[str]:
    event = app.current_event
    status = check_status(event.query_string_parameters.get("while", Status.PREPARING.value))
    limit = WAIT_LIMIT_SECONDS
    seconds = whole_number(event, "seconds", limit, high=limit)
    found = wait_while(services(), owner(event), session_id(id_), status=status, seconds=seconds)
    return answer(found)


@entry
def lambda_handler(event: Event, context: "LambdaContext", _: Services) -> Any:
    return app.resolve(event, context)
