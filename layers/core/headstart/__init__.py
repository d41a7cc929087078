"""Headstart: coding-agent sessions on AWS that answer at once."""
