"""Stands in for the embedded cloud where tests look at `headstart demo` only."""
