"""The work against where it began, and its way to the remote."""
