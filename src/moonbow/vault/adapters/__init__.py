"""What the vault stands on: the file of a region's key."""
