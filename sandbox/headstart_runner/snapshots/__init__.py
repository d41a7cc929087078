"""Copies of the work: made, sent, fetched and put back."""
