"""How an embedded cloud is reached from outside: nothing that it is made of is loaded here."""

import boto3

from headstart_local import emulator

STACK = "headstart"
DEFAULT_PORT = 4599


def session() -> boto3.Session:
    """Return a session with the embedded cloud's credentials, the developer's own left alone."""
    return boto3.Session(
        aws_access_key_id=emulator.CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=emulator.CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=emulator.CREDENTIALS["AWS_SESSION_TOKEN"],
        region_name=emulator.REGION,
    )
