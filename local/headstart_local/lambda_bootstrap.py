"""Runs one Lambda function inside a worker process; started by lambda_workers, never imported.

The protocol: requests as JSON lines on standard input, answers as JSON lines on the descriptor
given as first argument. Standard output and error stay the function's own; a marker line closes
the log of each invocation. Only the standard library is used, so nothing of ours leaks into what
the function can import.
"""

import importlib
import json
import os
import queue
import sys
import threading
import time
import traceback
from types import SimpleNamespace
from typing import Any

LOG_END = "\x1eEND "


class Context:
    """The context object of an invocation ("AWS Lambda context object in Python")."""

    identity = None
    client_context = None

    def __init__(self, call: dict[str, Any]) -> None:
        self.aws_request_id: str = call["request_id"]
        self.invoked_function_arn: str = call["arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self._deadline = time.monotonic() + float(call["timeout"])

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function times out."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def described(error: BaseException, error_type: str | None = None) -> dict[str, Any]:
    """An error as Lambda reports it: `errorType` is the class name."""
    return {
        "errorType": error_type or type(error).__name__,
        "errorMessage": str(error),
        "stackTrace": traceback.format_tb(error.__traceback__),
    }


def use_only_packaged_code(code_dir: str, layers: list[str]) -> None:
    """Let the function import its own code, its layers and installed packages, nothing else.

    An editable install puts source folders on the path; with them a function would work here
    although its package lacks a file.
    """
    roots = (os.path.realpath(sys.base_prefix), os.path.realpath(sys.prefix))
    installed = [path for path in sys.path if os.path.realpath(path).startswith(roots)]
    sys.path = [code_dir, *layers, *installed]


def load_handler(handler: str) -> Any:
    """Import the handler; errors carry the names that Lambda's runtime gives them."""
    module_name, _, function_name = handler.rpartition(".")
    module = importlib.import_module(module_name.replace("/", "."))
    return getattr(module, function_name)


def read_requests(requests: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Feed the queue; the end of the input means that the cloud is gone, whatever runs here."""
    for line in sys.stdin.buffer:
        requests.put(json.loads(line))
    os._exit(0)


def run(answers: Any) -> None:
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=read_requests, args=(requests,), daemon=True).start()
    start = SimpleNamespace(**requests.get())
    use_only_packaged_code(start.code, start.layers)

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message).encode() + b"\n")
        answers.flush()

    try:
        handler = load_handler(start.handler)
    except Exception as error:
        names = {
            ModuleNotFoundError: "Runtime.ImportModuleError",
            ImportError: "Runtime.ImportModuleError",
            SyntaxError: "Runtime.UserCodeSyntaxError",
            AttributeError: "Runtime.HandlerNotFound",
        }
        traceback.print_exc()
        sys.stderr.flush()
        answer({"error": described(error, names.get(type(error)))})
        return
    answer({"ready": True})
    while True:
        call = requests.get()
        os.environ["_X_AMZN_TRACE_ID"] = call.get("trace_id") or ""
        try:
            message = {"result": handler(call["event"], Context(call))}
        except Exception as error:
            traceback.print_exc()
            message = {"error": described(error)}
        try:
            line = json.dumps(message)
        except (TypeError, ValueError) as error:
            line = json.dumps({"error": described(error, "Runtime.MarshalError")})
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(2, f"{LOG_END}{call['request_id']}\n".encode())
        answers.write(line.encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[1]), "wb") as channel:
        run(channel)
