"""The world that this room's tests share."""

from conftest_gateway import scene

__all__ = ["scene"]
