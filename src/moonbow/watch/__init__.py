"""Looks after a world: whether every record rests where it may, and a signed word about it."""
