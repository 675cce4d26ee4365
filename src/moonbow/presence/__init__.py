"""Who is here, on how many devices, and as what they want to be seen.  In memory only."""

from .process import Presence

__all__ = ["Presence"]
