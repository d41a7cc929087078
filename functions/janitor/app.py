"""Once a minute: everything time-based."""

from typing import TYPE_CHECKING, Any

from headstart.bootstrap import Event, Services, entry
from headstart.usecases.janitor import run

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@entry
def lambda_handler(_: Event, __: "LambdaContext", services: Services) -> Any:
    return run(services)
