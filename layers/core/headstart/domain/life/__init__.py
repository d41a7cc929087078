"""The rules of a session's life: each a function of one Change, with nothing else in reach."""
