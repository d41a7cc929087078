"""What runs in the containers of the conformance tests."""

import json
import os
import signal
import subprocess
import sys
import time

print(json.dumps(dict(os.environ)))  # noqa: T201 - standard output is the container's log
MODE = os.environ.get("MODE")
if MODE == "exit":
    sys.exit(int(os.environ["CODE"]))
if MODE == "daemon":
    subprocess.Popen(["setsid", "sleep", os.environ["SECONDS"]])
    sys.exit(0)
if MODE == "stubborn":
    subprocess.Popen(["setsid", "sleep", os.environ["SECONDS"]])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ignoring SIGTERM")  # noqa: T201
time.sleep(float(os.environ["SECONDS"]))
