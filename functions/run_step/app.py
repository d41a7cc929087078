"""The Task of every preparation step that waits for a token."""

from typing import TYPE_CHECKING, Any

from headstart.bootstrap import Event, Services, entry
from headstart.usecases.prepare import StepTask, run_step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@entry
def lambda_handler(event: Event, _: "LambdaContext", services: Services) -> Any:
    run_step(services, StepTask.model_validate(event))
    return {}
