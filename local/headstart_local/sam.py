"""What `sam local invoke` needs to run the functions here: a build for this machine's processor,
and a way to the embedded cloud.

    python -m headstart_local.sam build      into .aws-sam/local, beside the build for Lambda
    python -m headstart_local.sam connect    points that build at the running cloud, until Ctrl-C
"""

import argparse
import fcntl
import http.client
import os
import platform
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import botocore.exceptions
import yaml

from headstart_local import emulator
from headstart_local.packaging import TemplateError, read_template
from headstart_local.reaching import DEFAULT_PORT, STACK, session
from headstart_local.stop import Stop
from headstart_local.tokens import NoUrlError, endpoint_of

REPOSITORY = Path(__file__).resolve().parents[2]
BUILT = REPOSITORY / ".aws-sam" / "local" / "template.yaml"
CONNECTED = BUILT.with_name("connected.yaml")
PROCESSORS = {
    "x86_64": ("x86_64", "manylinux2014_x86_64"),
    "aarch64": ("arm64", "manylinux2014_aarch64"),
}
"""What Lambda and pip call a processor."""

_ANSWER_SECONDS = 60
_HOP_BY_HOP = {"connection", "host", "keep-alive", "transfer-encoding"}
_BRIDGE = '{{index .Options "com.docker.network.bridge.name"}}'
_SIOCGIFADDR = 0x8915


def build() -> None:
    """Run `sam build` for this machine's processor; raises CalledProcessError."""
    architecture, target = PROCESSORS[platform.machine()]
    subprocess.run(  # noqa: S603 - our own arguments
        ["sam", "build", "--no-cached", "--build-dir", str(BUILT.parent)],  # noqa: S607 - on PATH
        check=True,
        cwd=REPOSITORY,
        env={**os.environ, "HEADSTART_LAYER_PLATFORM": target},
    )
    template = read_template(BUILT)
    template["Globals"]["Function"]["Architectures"] = [architecture]
    BUILT.write_text(yaml.safe_dump(template, sort_keys=False))


@contextmanager
def connected(endpoint: str, address: str) -> Iterator[Path]:
    """Yield a template whose functions are those of the cloud at `endpoint`, reached by containers.

    They get the variables that the cloud's functions have. The cloud listens on loopback only, so
    their calls come to `address`, the one that containers know this machine by.
    """
    variables = _variables(endpoint)
    with _Door(endpoint, address) as door:
        threading.Thread(target=door.serve_forever, args=(0.05,), daemon=True).start()
        template = read_template(BUILT)
        for name, own in variables.items():
            properties = template["Resources"][name]["Properties"]
            management = own["HEADSTART_SOCKET_MANAGEMENT_URL"].replace(endpoint, door.url)
            properties["Environment"] = {
                "Variables": {
                    **own,
                    **emulator.CREDENTIALS,
                    "AWS_REGION": emulator.REGION,
                    "AWS_ENDPOINT_URL": door.url,
                    "HEADSTART_SOCKET_MANAGEMENT_URL": management,
                }
            }
        CONNECTED.write_text(yaml.safe_dump(template, sort_keys=False))
        try:
            yield CONNECTED
        finally:
            CONNECTED.unlink(missing_ok=True)
            door.shutdown()


def bridge_address() -> str:
    """Return the address that Docker's containers know this machine by; raises OSError.

    Docker names the bridge; the kernel is asked for its address (netdevice(7)), because older
    engines don't tell it.
    """
    try:
        asked = subprocess.run(  # noqa: S603 - our own arguments
            ["docker", "network", "inspect", "bridge", "--format", _BRIDGE],  # noqa: S607 - on PATH
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        raise OSError(error.stderr.strip()) from error
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("256s", asked.stdout.strip().encode())
        answer = fcntl.ioctl(any_socket, _SIOCGIFADDR, request)
    return socket.inet_ntoa(answer[20:24])


def _variables(endpoint: str) -> dict[str, dict[str, str]]:
    """Return the environment of each of the cloud's functions, by its name in the template."""
    aws = session()
    cloudformation = aws.client("cloudformation", endpoint_url=endpoint)
    functions = aws.client("lambda", endpoint_url=endpoint)
    found = {}
    for made in cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]:
        if made["ResourceType"] == "AWS::Lambda::Function":
            name = made["PhysicalResourceId"]
            configuration = functions.get_function_configuration(FunctionName=name)
            found[made["LogicalResourceId"]] = configuration["Environment"]["Variables"]
    return found


class _Door(ThreadingHTTPServer):
    """Passes requests on to the cloud as if they came from this machine."""

    daemon_threads = True

    def __init__(self, endpoint: str, address: str) -> None:
        super().__init__((address, 0), _Caller)
        self.cloud = urlsplit(endpoint).netloc
        self.url = f"http://{address}:{self.server_address[1]}"


class _Caller(BaseHTTPRequestHandler):
    """One container's requests."""

    protocol_version = "HTTP/1.1"
    server: _Door

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        given = self.headers.items()
        kept = {name: text for name, text in given if name.lower() not in _HOP_BY_HOP}
        cloud = http.client.HTTPConnection(self.server.cloud, timeout=_ANSWER_SECONDS)
        try:
            cloud.request(self.command, self.path, body, kept)
            answer = cloud.getresponse()
            content = answer.read()
        finally:
            cloud.close()
        self.send_response(answer.status)
        for name, text in answer.getheaders():
            if name.lower() not in {*_HOP_BY_HOP, "content-length"}:
                self.send_header(name, text)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _pass_on

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Say nothing."""


def main(argv: list[str]) -> int:
    """Run one of the two; returns 1 with a reason where it can't."""
    parser = argparse.ArgumentParser(prog="python -m headstart_local.sam", description=__doc__)
    parser.add_argument("task", choices=["build", "connect"])
    task = parser.parse_args(argv).task
    try:
        if task == "build":
            build()
            return 0
        url = os.environ.get("HEADSTART_URL", f"http://127.0.0.1:{DEFAULT_PORT}")
        stop = Stop()
        with connected(endpoint_of(url), bridge_address()) as template:
            sys.stdout.write(f"{template.relative_to(REPOSITORY)} is connected until Ctrl-C.\n")
            sys.stdout.flush()
            stop.wait()
    except (
        OSError,
        TemplateError,
        NoUrlError,
        subprocess.CalledProcessError,
        botocore.exceptions.BotoCoreError,
    ) as error:
        sys.stderr.write(f"headstart_local.sam: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
