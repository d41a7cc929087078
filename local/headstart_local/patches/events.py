"""EventBridge: how functions are invoked by rules."""

import json

from headstart_local.patches.context import PatchContext


def rules_invoke_asynchronously(context: PatchContext) -> None:
    """Invoke a rule's function asynchronously: two retries, then the function's destination.

    "EventBridge invokes your Lambda function asynchronously" ("Using AWS Lambda with Amazon
    EventBridge"). Retries come after 1 and 2 seconds here, not after 1 and 2 minutes.
    """
    service, eventbridge = context.emulator.lambda_service, context.emulator.eventbridge

    def dispatch(arn: str, payload: str) -> None:
        function, config, _ = service._get_func_record_for_ref(arn)
        if function and config:
            record = service._execution_record_for_config(function, config)
            service.invoke_async_with_retry(record, json.loads(payload))

    eventbridge._dispatch_to_lambda = dispatch
