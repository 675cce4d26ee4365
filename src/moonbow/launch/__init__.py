"""World -> processes on this machine: start, watch, kill, drain, cut, stop."""
