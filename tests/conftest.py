"""For every test: Ctrl-C means what it means in a terminal, and no machine is too slow."""

import signal

from hypothesis import HealthCheck, settings

# A shell that runs a job in the background has it ignore SIGINT, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# They need Chromium, which `make test` does without: `make test-page` names the folder.
collect_ignore = ["page"]

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
