"""What is written down about the HTTP API, made from the code that is it; never deployed."""
