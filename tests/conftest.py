"""For every test: Ctrl-C means what it means in a terminal, and no machine is too slow."""

import functools
import os
import signal

import botocore.loaders
from hypothesis import HealthCheck, settings

# A shell that runs a job in the background has it ignore SIGINT, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# They need Chromium, which `make test` does without: `make test-page` names the folder.
collect_ignore = ["page"]

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# What botocore knows of the services is read once, not by each session that a test makes; and none
# wants the machine images that moto would make up for each account.
botocore.loaders.create_loader = functools.cache(botocore.loaders.create_loader)
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
