"""Git as the runner uses it: bounded, without prompts, to public hosts only."""
