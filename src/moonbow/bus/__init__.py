"""The live bus: NATS core between the processes of a region, and between regions what may cross.  It stores nothing."""

from .client import Bus

__all__ = ["Bus"]
