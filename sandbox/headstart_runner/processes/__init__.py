"""Untrusted programs: started, watched over, ended, and what they print."""
