"""The built-in demo agent: a server of its own that answers from the repository, without a model.

It speaks the part of opencode's HTTP API that the runner uses, has the same `import` and `export`
commands, and needs nothing but the standard library and git.
"""

VERSION = "1.0.0"
