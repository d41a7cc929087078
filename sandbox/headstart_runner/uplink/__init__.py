"""The way to the cloud: one connection, and what waits to be said on it."""
