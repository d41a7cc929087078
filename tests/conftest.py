"""For every test: Ctrl-C means what it means in a terminal, and no machine is too slow."""

import functools
import os
import signal
from importlib.util import find_spec

from hypothesis import HealthCheck, settings

# A shell that runs a job in the background has it ignore SIGINT, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# They need Chromium, which `make test` does without: `make test-page` names the folder.
collect_ignore = ["page"]

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# The runner's tests run in its image as well, where nothing is of AWS.
if find_spec("botocore"):
    import botocore.loaders

    # What botocore knows of the services is read once, not by each session that a test makes.
    botocore.loaders.create_loader = functools.cache(botocore.loaders.create_loader)

# Nobody wants the machine images that moto would make up for each account.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
