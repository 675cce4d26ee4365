"""The ground floor: identifiers, errors and the process's own clock and log.  It imports nothing of ours."""
