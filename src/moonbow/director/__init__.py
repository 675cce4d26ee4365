"""Which door?  World and health in; DNS answers out, each with its reason."""
