"""`headstart up`, played by the fake: it notes its arguments and process, and obeys SIGTERM."""

import json
import os
import signal
import sys
from pathlib import Path

import fake_headstart as fake
from session_scripts import good_session, good_start


def main(argv: list[str]) -> int:
    """Do as the environment says: fail at once, or serve one session until SIGTERM."""
    note = Path(os.environ["STUB_NOTE"])
    note.write_text(json.dumps({"pid": os.getpid(), "argv": argv}))
    scenario = os.environ["STUB_SCENARIO"]
    if scenario == "broken":
        sys.stderr.write("headstart up: port 4566 is taken\n")
        return 1
    signals = {signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with fake.running() as cloud:
        failure = {"step": "clone", "code": "RepositoryNotFound", "reason": "no such repository"}
        asked = {"requestId": "per_1", "kind": "permission", "body": {"title": "edit"}}
        turn = good_session()
        cloud.next_session.script = {
            "good": good_session(),
            "failing": [
                *good_start()[:7],
                ("session.failed", {"attemptNumber": 1, "failure": {**failure, "retryable": True}}),
            ],
            "endless": good_start(),
            "asking": [*turn[:-1], ("input.requested", asked), turn[-1]],
        }[scenario]
        address = {"httpUrl": cloud.url, "token": "token", "gitUrl": "http://127.0.0.1/sample.git"}
        sys.stdout.write(json.dumps(address) + "\n")
        sys.stdout.flush()
        signal.sigwait(signals)
        request = cloud.requests("POST", "/sessions")[0]
    note.write_text(json.dumps({"pid": os.getpid(), "argv": argv, "body": request.body}))
    return 0
