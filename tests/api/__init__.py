"""The HTTP API as a contract."""
