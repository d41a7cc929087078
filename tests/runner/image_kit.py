"""The image's two users without a container engine: the Dockerfile itself says how it starts."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from fake_cloud import BOOTSTRAP_KEY, FakeCloud
from runner_kit import SESSION_ID

_ROOT = Path(__file__).parents[2]
_DOCKERFILE = _ROOT / "sandbox" / "Dockerfile"
_CANDIDATES = ("/usr/local/bin/python3", "/usr/bin/python3", os.path.realpath(sys.executable))


def instructions(name: str) -> list[str]:
    """Return what the Dockerfile's instructions of a name say, joined lines as one."""
    text = re.sub(r"^ *#.*\n", "", _DOCKERFILE.read_text(), flags=re.MULTILINE)
    return re.findall(rf"^{name} (.+)", text.replace("\\\n", ""), re.MULTILINE)


def uid_of(user: str) -> int:
    """Return the number of one of the image's users."""
    users = dict(re.findall(r"useradd --uid (\d+) [^&]* (\w+) +&&", " ".join(instructions("RUN"))))
    return next(int(number) for number, name in users.items() if name == user)


def shared_python() -> str | None:
    """Return a Python of our version that other users may run, or None."""
    code = "import sys; print(*sys.version_info[:2])"
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "-i")
    for python in _CANDIDATES:
        done = subprocess.run(
            [*as_nobody, python, "-I", "-c", code],
            cwd="/",
            check=False,
            capture_output=True,
            text=True,
        )
        if done.stdout.split() == [*map(str, sys.version_info[:2])]:
            return python
    return None


class Container:
    """The image's folders below one of ours, its users, and a runner as the image starts it."""

    def __init__(self, cloud: FakeCloud, root: Path, python: str) -> None:
        self.root = root
        self.runner_uid, self.agent_uid = uid_of("runner"), uid_of("agent")
        self.workspace = self.place("/workspace")
        self.state = self.place("/var/lib/headstart")
        self.temporary = self.place("/tmp")  # noqa: S108
        self.repository = self.workspace / "repo"
        self.python = self.place("/opt/headstart/bin/python")
        self._settings = {
            "HEADSTART_URL": cloud.url,
            "HEADSTART_SESSION_ID": SESSION_ID,
            "HEADSTART_KEY": BOOTSTRAP_KEY,
            "HEADSTART_ATTEMPT": "1",
            "HEADSTART_BATCH_MS": "20",
            # What the image needs not say, because its volumes are where they are.
            "HEADSTART_WORKSPACE": str(self.workspace),
            "HEADSTART_STATE_DIR": str(self.state),
            "TMPDIR": str(self.temporary),
        }
        self.process: subprocess.Popen[str] | None = None
        self._build(python)

    def place(self, path: str) -> Path:
        """Return where a path of the image is."""
        return self.root / path.lstrip("/")

    @property
    def site_packages(self) -> Path:
        """Where the runner's libraries are."""
        version = ".".join(map(str, sys.version_info[:2]))
        return self.place(f"/opt/headstart/lib/python{version}/site-packages")

    def _build(self, python: str) -> None:
        """Make the folders that the Dockerfile makes, and a virtual environment as it does."""
        installs = re.findall(r"install -d ([^&]+)", " ".join(instructions("RUN")))
        for options in map(shlex.split, installs):
            named = dict(zip(options[::2], options[1::2], strict=False))
            place = self.place(options[-1])
            place.mkdir(parents=True)
            place.chmod(int(named.get("-m", "755"), 8))
            os.chown(place, uid_of(named["-o"]), uid_of(named["-g"]))
        self.temporary.mkdir()
        self.temporary.chmod(0o1777)
        self.site_packages.mkdir(parents=True)
        self.python.parent.mkdir()
        self.python.symlink_to(python)
        self.place("/opt/headstart/pyvenv.cfg").write_text(f"home = {Path(python).parent}\n")
        libraries = next(entry for entry in sys.path if entry.endswith("site-packages"))
        sources = (str(_ROOT / "layers" / "core"), str(_ROOT / "sandbox"), libraries)
        (self.site_packages / "headstart.pth").write_text("\n".join(sources))

    def _command(self) -> list[str]:
        """Return the image's own words, without its init and with its users' numbers."""
        entry = json.loads(instructions("ENTRYPOINT")[-1])
        begin = entry[entry.index("--") + 1 :]
        words = ["setpriv", *begin[1:], *json.loads(instructions("CMD")[-1])]
        words = [word.replace("id=runner", f"id={self.runner_uid}") for word in words]
        return [word.replace("/opt/headstart", str(self.place("/opt/headstart"))) for word in words]

    def start(self, *, cwd: Path | None = None, without: str = "", **changes: str) -> None:
        """Start the runner; `without` one of the words of its command, with other variables."""
        words = shlex.split(instructions("ENV")[-1])
        environment = dict(word.split("=", 1) for word in words)
        self.process = subprocess.Popen(
            [word for word in self._command() if word != without],
            cwd=cwd or instructions("WORKDIR")[-1],
            env={**environment, **self._settings, **changes},
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """The runner's process: what starts it turns into it."""
        assert self.process is not None
        return self.process.pid

    def end(self) -> tuple[int, str]:
        """End the runner, if it hasn't; return its status and what it said."""
        assert self.process is not None
        self.process.terminate()
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said

    def kill(self) -> None:
        """Kill the runner, and wait until what it had started is gone, too."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate(timeout=20)
        deadline = time.monotonic() + 20
        while self._is_inhabited():
            assert time.monotonic() < deadline, "something outlives the runner"
            time.sleep(0.01)

    def _is_inhabited(self) -> bool:
        """Say whether a process has its working directory in one of the folders."""
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "cwd").readlink().is_relative_to(self.root):
                    return True
        return False
