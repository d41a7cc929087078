"""The words, rules and contracts of Headstart: pure, shared by the functions and the runner."""
