"""The patches that bring ministack to AWS's documented behaviour, each with a conformance test."""

from headstart_local.patches import (
    callbacks,
    cloudformation,
    cognito,
    definitions,
    ecs,
    events,
    executions,
    frames,
    host,
    lambda_,
    memory,
    queues,
    websocket,
)
from headstart_local.patches.context import Patch, PatchContext

__all__ = ["PATCHES", "Patch", "PatchContext", "patch_name"]

# In this order: later ones wrap what earlier ones have put in place.
PATCHES: tuple[Patch, ...] = (
    host.no_docker,
    lambda_.function_workers,
    lambda_.proxy_error_is_internal,
    executions.no_start_delay,
    executions.machine_timeout,
    executions.stop_ends_waits,
    executions.stop_of_the_closed,
    executions.start_is_idempotent,
    callbacks.token_waits,
    callbacks.token_calls,
    callbacks.token_for_each_try,
    definitions.invalid_definitions_refused,
    definitions.missing_paths_fail,
    websocket.sessions,
    websocket.connections,
    frames.frame_limit,
    cloudformation.unknown_parameters_refused,
    cloudformation.predictable_api_ids,
    cloudformation.http_api_body,
    cloudformation.cors_configuration,
    cloudformation.api_deployments,
    cloudformation.cluster_providers,
    cloudformation.generated_secrets,
    cloudformation.time_to_live,
    cognito.username_is_sub,
    events.rules_invoke_asynchronously,
    ecs.task_processes,
    ecs.task_state_events,
    ecs.client_token,
    ecs.weighed_strategy,
    ecs.associated_providers,
    ecs.started_by_alone,
    ecs.stopped_tasks_go,
    queues.fair,
    queues.mapped_concurrency,
    queues.move_tasks,
    memory.newest_logs,
    memory.no_list_of_events,
    memory.newest_executions,
    memory.digests_of_transactions,
)


def patch_name(patch: Patch) -> str:
    """Return the name a patch goes by in tests and documents: `module.function`."""
    return f"{patch.__module__.rpartition('.')[2]}.{patch.__name__}"
