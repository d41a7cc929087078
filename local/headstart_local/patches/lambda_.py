"""Lambda: workers that behave like execution environments, and what callers see of errors."""

import json
from typing import Any

from headstart_local.lambda_workers import FunctionSpec, WorkerExitedError
from headstart_local.patches.context import PatchContext

# A laptop can't hold as many processes as a function may have reserved concurrency.
_MOST_WORKERS = 16


def function_workers(context: PatchContext) -> None:
    """Run functions in workers of our own.

    The `errorType` of a failed invocation is the exception's class name and an environment
    survives a handler's exception ("Lambda function errors in Python"); only the documented
    variables and the function's own exist ("Using Lambda environment variables").
    """
    service = context.emulator.lambda_service

    def execute(function: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        config = function.get("config") or function
        spec = _spec(context, function, config)
        trace = service._xray_trace_id_for_invocation(config)
        try:
            outcome = context.workers.invoke(spec, event, request_id, trace)
        except WorkerExitedError as error:
            body = {"errorType": "Runtime.ExitError", "errorMessage": str(error)}
            return {"body": body, "error": True, "log": ""}
        if outcome.error is None:
            return {"body": outcome.result, "log": outcome.log}
        body = {**outcome.error, "requestId": request_id}
        return {"body": body, "error": True, "function_error": "Unhandled", "log": outcome.log}

    service._execute_function_warm = execute


def _spec(context: PatchContext, function: dict[str, Any], config: dict[str, Any]) -> FunctionSpec:
    service = context.emulator.lambda_service
    name = config["FunctionName"]
    layers = (service._resolve_layer_zip(layer) for layer in config.get("Layers", []))
    reserved = service._reserved_concurrency(function, config)
    return FunctionSpec(
        name=name,
        arn=config["FunctionArn"],
        version=config.get("Version", "$LATEST"),
        handler=config["Handler"],
        memory_mb=int(config.get("MemorySize", 128)),
        timeout_seconds=float(config.get("Timeout", 3)),
        log_group=(config.get("LoggingConfig") or {}).get("LogGroup", f"/aws/lambda/{name}"),
        environment=dict((config.get("Environment") or {}).get("Variables", {})),
        code=function["code_zip"],
        layers=tuple(layer for layer in layers if layer),
        revision=config["RevisionId"],
        max_workers=min(reserved, _MOST_WORKERS) if reserved else context.max_workers,
    )


def proxy_error_is_internal(context: PatchContext) -> None:
    """Answer 500 `{"message":"Internal Server Error"}` when an HTTP API's function fails.

    The error itself stays in the log ("Troubleshooting issues with HTTP API Lambda integrations").
    """
    service = context.emulator.lambda_service
    stock = service.lambda_execute_result_to_api_proxy_response

    def response(result: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
        if result.get("error") and not result.get("throttle"):
            body = json.dumps({"message": "Internal Server Error"})
            headers = {"Content-Type": "application/json"}
            return {"statusCode": 500, "headers": headers, "body": body}, None
        answer: tuple[dict[str, Any] | None, str | None] = stock(result)
        return answer

    service.lambda_execute_result_to_api_proxy_response = response
