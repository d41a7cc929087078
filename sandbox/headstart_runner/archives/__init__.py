"""The workspace saved whole and put back: a base, and a difference on top of it."""
