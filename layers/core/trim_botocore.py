"""Leaves in a folder of botocore's data only the services we call; run by the Makefile.

The models of all services are most of botocore's 25 MB, and `endpoints.json` knows every region of
every one of them: reading its 1.2 MB is an eighth of the first invocation (docs/performance.md).
"""

import json
import shutil
import sys
from pathlib import Path

# The folder of the model, and the service's name in endpoints.json.
SERVICES = {
    "apigatewaymanagementapi": "execute-api",
    "dynamodb": "dynamodb",
    "ecs": "ecs",
    "kms": "kms",
    "s3": "s3",
    "secretsmanager": "secretsmanager",
    "stepfunctions": "states",
}


def trim(data: Path) -> None:
    """Remove what belongs to other services."""
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in SERVICES:
            shutil.rmtree(folder)
    path = data / "endpoints.json"
    endpoints = json.loads(path.read_text())
    wanted = set(SERVICES.values())
    for partition in endpoints["partitions"]:
        known = partition["services"]
        partition["services"] = {name: known[name] for name in wanted & known.keys()}
    path.write_text(json.dumps(endpoints, separators=(",", ":")))


if __name__ == "__main__":
    trim(Path(sys.argv[1]))
