"""The engine behind the doors."""
