"""moto's AWS behind one HTTP address, for functions in processes of their own.

moto ships a server, but it needs Flask; a request's way to the backends is this short.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from moto.core.models import botocore_stubber

from tests.handlers.scene import REGION

_HOSTS = {
    "DynamoDB_20120810": "dynamodb",
    "AWSStepFunctions": "states",
    "AmazonEC2ContainerServiceV20141113": "ecs",
}
"""Which service a request's X-Amz-Target names; what has none posts to a WebSocket connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        target = self.headers.get("X-Amz-Target", "").partition(".")[0]
        host = _HOSTS.get(target, "f6e5d4c3b2.execute-api")
        url = f"https://{host}.{REGION}.amazonaws.com{self.path}"
        headers = HTTPHeaders()
        for name, value in self.headers.items():
            headers[name] = value
        request = AWSPreparedRequest(self.command, url, headers, body, stream_output=False)
        answer = botocore_stubber("before-send", request)
        content = answer.content if answer else b"{}"
        self.send_response(answer.status_code if answer else 404)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_DELETE = _answer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  inherited name
        """Say nothing."""


class AwsOverHttp:
    """Serves moto's present state while it is entered; `url` is for AWS_ENDPOINT_URL."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "AwsOverHttp":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
