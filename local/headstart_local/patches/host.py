"""Keeps ministack away from the machine it runs on."""

from headstart_local.patches.context import PatchContext


def no_docker(context: PatchContext) -> None:
    """Never talk to a Docker daemon, which stock ministack does to remove leftover containers.

    Not a rule of AWS: the embedded cloud needs no Docker and must not touch the developer's.
    """
    app = context.emulator.app
    app._docker_socket_present = lambda: False
    app._stop_docker_containers = lambda *arguments: None
    context.emulator.container_reaper.start = lambda *arguments: None
    context.emulator.ecs._get_docker = lambda: None
