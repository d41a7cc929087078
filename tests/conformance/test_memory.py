"""What a cloud that runs for days may keep of what it has done."""

import pytest

from headstart_local.patches.memory import LOG_STREAMS
from tests.conformance.conftest import Probe


@pytest.mark.proves("memory.newest_kept")
def test_the_newest_log_streams_are_kept(probe: Probe) -> None:
    logs, group = probe.cloud.client("logs"), "/many"
    logs.create_log_group(logGroupName=group)
    for number in range(LOG_STREAMS + 2):
        logs.create_log_stream(logGroupName=group, logStreamName=f"{number:06d}")
    newest = f"{LOG_STREAMS + 1:06d}"
    events = [{"timestamp": 1, "message": "still here"}]
    logs.put_log_events(logGroupName=group, logStreamName=newest, logEvents=events)
    pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
    names = [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
    assert sorted(names) == [f"{number:06d}" for number in range(2, LOG_STREAMS + 2)]
    kept = logs.get_log_events(logGroupName=group, logStreamName=newest)["events"]
    assert [event["message"] for event in kept] == ["still here"]
