"""The runner's environment, read once.

HEADSTART_URL, HEADSTART_SESSION_ID, HEADSTART_KEY and HEADSTART_ATTEMPT are required; the rest has
defaults. With HEADSTART_AGENT_UID untrusted commands run under that uid and gid, for which the
runner needs some of root's rights (RIGHTS). Without it they share the runner's uid, which is meant
for development only.
"""

from collections.abc import MutableMapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from headstart.domain.ids import SESSION_ID_PATTERN
from headstart.domain.steps import HEARTBEAT_INTERVAL

_VARIABLES = {
    "url": "HEADSTART_URL",
    "session_id": "HEADSTART_SESSION_ID",
    "key": "HEADSTART_KEY",
    "attempt": "HEADSTART_ATTEMPT",
    "workspace": "HEADSTART_WORKSPACE",
    "state_dir": "HEADSTART_STATE_DIR",
    "agent_uid": "HEADSTART_AGENT_UID",
    "batch_ms": "HEADSTART_BATCH_MS",
    "heartbeat_seconds": "HEADSTART_HEARTBEAT_SECONDS",
    "offline_seconds": "HEADSTART_OFFLINE_SECONDS",
    "path": "PATH",
}

RIGHTS = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7}
"""The capabilities to work beside another uid, with their bits: to give it files, to use its files
whatever their modes, to remove them from sticky folders such as /tmp, to end its processes, and to
become it."""


def _held() -> int:
    """Return this process's effective capabilities (proc_pid_status(5))."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("CapEff:")[2].split()[0], 16)


class Config(BaseModel):
    """What the runner is told by whoever starts the sandbox."""

    model_config = ConfigDict(frozen=True)

    url: str = Field(pattern=r"^wss?://")
    session_id: str = Field(pattern=SESSION_ID_PATTERN)
    key: SecretStr
    attempt: int = Field(ge=1)
    workspace: Path = Path("/workspace")
    state_dir: Path = Path("/var/lib/headstart")
    agent_uid: int | None = Field(default=None, ge=1)
    batch_ms: int = Field(default=250, ge=0)
    heartbeat_seconds: float = Field(default=HEARTBEAT_INTERVAL, gt=0)
    offline_seconds: float = Field(default=900, gt=0)
    path: str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    """PATH of the commands: the sandbox image's own."""

    @field_validator("agent_uid")
    @classmethod
    def _is_within_our_rights(cls, uid: int | None) -> int | None:
        missing = [name for name, bit in RIGHTS.items() if not _held() >> bit & 1]
        if uid is not None and missing:
            raise ValueError(f"to use another uid needs the capabilities {', '.join(missing)}")
        return uid

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> "Config":
        """Read the variables and remove the key, so that no child can inherit it."""
        values = {
            field: environ[variable]
            for field, variable in _VARIABLES.items()
            if environ.get(variable)
        }
        environ.pop(_VARIABLES["key"], None)
        return cls.model_validate(values)

    @property
    def repository(self) -> Path:
        """Where the clone lives."""
        return self.workspace / "repo"

    @property
    def home(self) -> Path:
        """HOME of the untrusted commands and the agent."""
        return self.workspace / "home"
