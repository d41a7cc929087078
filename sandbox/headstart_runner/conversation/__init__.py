"""Messages on their way to the agent, and the turns that they begin."""
