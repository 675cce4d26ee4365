"""Adapters of the stores: one engine each, behind the ports of the rooms that use them."""
