"""ECS's word that a task changed; only its end matters here."""

from typing import TYPE_CHECKING, Any

from headstart.adapters.ecs import stopped_reason
from headstart.bootstrap import Event, Services, entry
from headstart.usecases.sandbox import sandbox_stopped

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@entry
def lambda_handler(event: Event, _: "LambdaContext", services: Services) -> Any:
    detail = event["detail"]
    if detail.get("lastStatus") == "STOPPED":
        sandbox_stopped(
            services, detail.get("startedBy", ""), detail["taskArn"], stopped_reason(detail)
        )
    return {}
