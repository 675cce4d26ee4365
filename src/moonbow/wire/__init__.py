"""Every type that leaves a process: the API's, the stream's, the bus's, and the closed list of what is shared."""
