"""For every test: Ctrl-C means what it means in a terminal."""

import signal

# A shell that runs a job in the background has it ignore SIGINT, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
