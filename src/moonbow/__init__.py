"""Moonbow: an open, self-hosted cloud for unified communications over a world of regions."""
