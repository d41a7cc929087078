"""The runner's own door: what the sandbox asks of the world through it is stamped on the way."""
