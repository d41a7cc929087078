"""What the cloud says of agents is what the runner has."""

from headstart.domain.agents import MODES
from headstart_runner.agents import AGENTS


def test_both_sides_know_the_same_agents() -> None:
    assert set(MODES) == set(AGENTS)


def test_each_mode_that_is_offered_is_called_by_the_agents_own_name() -> None:
    for name, modes in MODES.items():
        assert [AGENTS[name].mode(mode) for mode in modes] == [*modes]
