"""The embedded cloud: the emulator, patched, with a template deployed to it."""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from headstart_local import emulator, packaging
from headstart_local.containers import Containers
from headstart_local.deploy import check_names, deploy
from headstart_local.lambda_workers import WorkerPools
from headstart_local.patches import PATCHES, Patch, PatchContext
from headstart_local.patches.cloudformation import api_id
from headstart_local.reaching import STACK, session
from headstart_local.scratch import Scratch
from headstart_local.server import Server, listen

STAGE = "live"
SANDBOX_IMAGE = "headstart-sandbox:local"
MAX_WORKERS = 4


class Cloud:
    """One embedded cloud; a process can have one, once."""

    def __init__(
        self,
        template: Path,
        *,
        parameters: Mapping[str, str] | None = None,
        offered: Mapping[str, str] | None = None,
        keys: Mapping[str, bytes] | None = None,
        port: int = 0,
        images: Mapping[str, Sequence[str]] | None = None,
        max_workers: int = MAX_WORKERS,
        on_log: Callable[[str, str], None] = lambda function, line: None,
        origins: Sequence[str] = (),
        between: Callable[[], None] = lambda: None,
        patches: Sequence[Patch] = PATCHES,
    ) -> None:
        """Describe a cloud.

        `parameters` must be the template's, `offered` ones count where it has them; `keys` are put
        into KMS first, and their ARNs are parameters by these names; `port` 0 takes a free one;
        `images` maps container images to commands; `max_workers` is the limit for functions without
        reserved concurrency; `on_log` gets each line of a function's log as it is written;
        `origins` are those whose pages may call the two APIs; `between` is called between the steps
        of a start, and ends it with what it raises.
        """
        self.outputs: dict[str, str] = {}
        self._template_path = template
        self._parameters = dict(parameters or {})
        self._offered = dict(offered or {})
        self._keys = dict(keys or {})
        self._wanted_port = port
        self._images = images or {SANDBOX_IMAGE: [sys.executable, "-I", "-m", "headstart_runner"]}
        self._max_workers = max_workers
        self._on_log = on_log
        self._origins = origins
        self._between = between
        self._patches = patches
        self._template: dict[str, Any] = {}
        self._clients: dict[tuple[str, str], Any] = {}
        self._clients_lock = threading.Lock()
        self._emulator: emulator.Emulator | None = None
        self._server: Server | None = None
        self._workers: WorkerPools | None = None
        self.containers: Containers | None = None
        self.port = 0
        self._scratch: Scratch | None = None

    @property
    def endpoint(self) -> str:
        """The URL of all AWS APIs."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def http_url(self) -> str:
        """The HTTP API's base URL, without a slash at its end."""
        return f"{self.endpoint}/_aws/execute-api/{self._api('AWS::Serverless::HttpApi')}"

    @property
    def websocket_url(self) -> str:
        """The WebSocket API's URL."""
        return f"ws://{self._websocket_address}"

    def client(self, service: str, endpoint: str | None = None) -> Any:
        """Return a boto3 client of this cloud, the same one each time; threads may share it."""
        key = (service, endpoint or self.endpoint)
        with self._clients_lock:
            if key not in self._clients:
                # Made by name, which the overloads of boto3's stubs don't cover.
                aws: Any = session()
                self._clients[key] = aws.client(service, endpoint_url=key[1])
            return self._clients[key]

    def start(self) -> None:
        """Start and deploy; whatever fails, nothing is left running."""
        listener = listen(self._wanted_port)
        self.port = listener.getsockname()[1]
        try:
            self._scratch = Scratch("cloud")
            root = self._scratch.path
            # What runs in a container may change its user and must still reach its folders.
            root.chmod(0o711)
            self._template = packaging.read_template(self._template_path)
            # The emulator says the same, seconds later.
            check_names([*self._parameters, *self._keys], self._template)
            self._between()
            self._emulator = loaded = emulator.load(self.port)
            self._workers = WorkerPools(root, self.endpoint, emulator.REGION, self._on_log)
            self.containers = Containers(root / "tasks", self._images)
            self._between()
            context = PatchContext(loaded, self._workers, self.containers, self._max_workers)
            for patch in self._patches:
                patch(context)
            self._server = Server(loaded.app.app, listener, self._origins)
            self._server.start()
            self._between()
            base = self._template_path.parent
            self.outputs = deploy(
                session(),
                self.endpoint,
                stack=STACK,
                template=self._template,
                base=base,
                parameters={**self._parameters, **self._imported_keys()},
                offered={**self._own_parameters(), **self._offered},
            )
        except BaseException:
            listener.close()
            self.stop()
            raise

    def stop(self) -> None:
        """End everything: workers, containers, server, files. Never raises for what is gone."""
        if self._workers:
            self._workers.close()
        if self.containers:
            self.containers.close()
        if self._server:
            self._server.stop()
        if self._emulator:
            # ministack's schedulers are threads without an end; only having no rule quiets them.
            self._emulator.eventbridge.reset()
            self._emulator.scheduler.reset()
            with self._emulator.scope():
                self._emulator.lambda_service._esms.clear()
        if self._scratch:
            self._scratch.close()

    def __enter__(self) -> "Cloud":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _imported_keys(self) -> dict[str, str]:
        if not self._keys:
            return {}
        from headstart_local.signing_keys import import_key  # noqa: PLC0415 - slow, and seldom

        return {name: import_key(self.client("kms"), key) for name, key in self._keys.items()}

    @property
    def _websocket_address(self) -> str:
        websocket_api = self._api("AWS::Serverless::WebSocketApi")
        return f"127.0.0.1:{self.port}/_aws/execute-api/{websocket_api}/{STAGE}"

    def _api(self, resource_type: str) -> str:
        logical_id = next(packaging.resources(self._template, resource_type), None)
        if logical_id is None:
            raise packaging.TemplateError(
                f"the template {self._template_path} has no {resource_type}"
            )
        return api_id(STACK, logical_id)

    def _own_parameters(self) -> dict[str, str]:
        """Return the parameters that stand for what has another shape here than on AWS."""
        return {
            "AllowedOrigins": ",".join(self._origins),
            "WebSocketUrl": f"ws://{self._websocket_address}",
            "WebSocketManagementUrl": f"http://{self._websocket_address}",
            "SandboxImage": SANDBOX_IMAGE,
        }
