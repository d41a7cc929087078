"""Takes the work out of a clone and puts it back: a program of its own, run under the agent's uid.

It reads and writes what the agent may have made into anything, so the runner never does: a link
into the runner's own files leads nowhere, and what git might execute has no rights to lose. git
works on the repository's objects through a directory of our own, so neither the repository's
configuration nor its attributes, hooks, index or refs have a say or are touched.

What is saved is one gzipped tar: `meta.json` first, then `commits.bundle` where there are any, then
each changed or new file below `work/`. Nothing but the standard library and git is needed.
"""

FORMAT = 1
"""The number of the format; a restore refuses a higher one."""
