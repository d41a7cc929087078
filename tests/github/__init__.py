"""GitHub as its documentation describes it, for whoever talks to it in a test."""

from tests.github.app import Installation, Repository, app_key
from tests.github.stub import Call, Fault, GitHubStub

__all__ = ["Call", "Fault", "GitHubStub", "Installation", "Repository", "app_key"]
