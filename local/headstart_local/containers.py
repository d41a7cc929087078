"""Starts "containers": processes with an own environment, home and workspace, no Docker.

What isolates a real container (namespaces, uids, memory limits) is not enforced; docs/local.md
says so. What is: nothing of this process's environment gets in, and no process gets away.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headstart_local import container_init, processes

# A container that is killed needs this long at most, its descendants included.
KILL_SECONDS = 15.0
_FOLDERS = {
    "HOME": "home",
    "HEADSTART_WORKSPACE": "workspace",
    "HEADSTART_STATE_DIR": "state",
    "TMPDIR": "tmp",
}


class UnknownImageError(Exception):
    """There is no local command for an image."""


@dataclass(frozen=True)
class ContainerSpec:
    """What to start: the environment is all that the process gets beside PATH and its folders."""

    name: str
    image: str
    command: Sequence[str]
    environment: Mapping[str, str]


class Container:
    """A running container."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._init = subprocess.Popen(  # noqa: S603 - our own interpreter and script
            [sys.executable, "-I", "-m", container_init.__name__],
            env={"PATH": os.defpath},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        # Where the image starts, too: nothing that runs in the container may write there.
        self._order({"argv": list(argv), "env": dict(environment), "cwd": "/"})

    def main_process(self) -> int:
        """Return the id of the container's own process; tests kill it."""
        return processes.descendants(self._init.pid)[0]

    def follow(self, sink: Callable[[str], None]) -> int:
        """Pass on its output line by line until it ends; return its exit status."""
        if self._init.stdout:
            with self._init.stdout as output:
                for line in output:
                    sink(line.decode(errors="replace").rstrip("\n"))
        return self.wait()

    def stop(self, seconds: float) -> None:
        """SIGTERM now, SIGKILL for everything left after `seconds`."""
        self._order({"stop": seconds})

    def kill(self) -> None:
        """Kill it with all its descendants; follow() returns soon after."""
        with self._lock:
            if self._init.stdin and not self._init.stdin.closed:
                self._init.stdin.close()

    def wait(self) -> int:
        """Wait for the end and return the exit status; after 15 s it is made from outside.

        What a container runs has our uid, and can stop its first process.
        """
        with suppress(subprocess.TimeoutExpired):
            return self._init.wait(KILL_SECONDS)
        processes.kill_below(self._init.pid, KILL_SECONDS)
        self._init.kill()
        return self._init.wait()

    def _order(self, order: Mapping[str, object]) -> None:
        with self._lock:
            if self._init.stdin and not self._init.stdin.closed:
                try:
                    self._init.stdin.write(json.dumps(order).encode() + b"\n")
                    self._init.stdin.flush()
                except BrokenPipeError:
                    return  # it has ended by itself


class Containers:
    """All containers of the cloud, and the images it knows."""

    def __init__(self, root: Path, images: Mapping[str, Sequence[str]]) -> None:
        self._root = root
        self._images = dict(images)
        self._lock = threading.Lock()
        self._running: dict[str, Container] = {}
        self._closed = False

    def start(self, task_id: str, spec: ContainerSpec) -> Container:
        """Start a container; UnknownImageError when the image has no local command."""
        argv = self._images.get(spec.image)
        if argv is None:
            raise UnknownImageError(spec.image)
        folder = self._root / task_id
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            **spec.environment,
        }
        for variable, name in _FOLDERS.items():
            (folder / name).mkdir(parents=True)
            environment[variable] = str(folder / name)
        with self._lock:
            if self._closed:
                raise UnknownImageError("the cloud is stopping")
            container = Container([*argv, *spec.command], environment)
            self._running[task_id] = container
        return container

    def find(self, task_id: str) -> Container | None:
        """Return a running container."""
        with self._lock:
            return self._running.get(task_id)

    def ended(self, task_id: str) -> None:
        """Forget a container and, as Fargate does, its disk."""
        with self._lock:
            container = self._running.pop(task_id, None)
        if container:
            container.kill()
        shutil.rmtree(self._root / task_id, ignore_errors=True)

    def close(self) -> None:
        """Kill all containers and start no more."""
        with self._lock:
            self._closed = True
            running = list(self._running.values())
        for container in running:
            container.kill()
        for container in running:
            container.wait()
