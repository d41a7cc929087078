"""What Headstart does, one function a thing, over ports."""
