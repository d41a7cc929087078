"""What the patches work with."""

from collections.abc import Callable
from dataclasses import dataclass

from headstart_local.containers import Containers
from headstart_local.emulator import Emulator
from headstart_local.lambda_workers import WorkerPools


@dataclass(frozen=True)
class PatchContext:
    """The emulator to be patched and the parts of ours that stand in for its own."""

    emulator: Emulator
    workers: WorkerPools
    containers: Containers
    max_workers: int


Patch = Callable[[PatchContext], None]
