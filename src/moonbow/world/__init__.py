"""The world file: what regions and sites there are, and everything that follows from it."""

from .model import (
    Balancing,
    Company,
    Place,
    Region,
    RegionData,
    Site,
    SiteRef,
    Traffic,
    World,
    load_world,
    parse_world,
)
from .policy import (
    Ports,
    distance_km,
    door_address,
    link_address,
    nearest_sites,
    place_port,
    problems,
    site_address,
    world_address,
)

__all__ = [
    "Balancing",
    "Company",
    "Place",
    "Ports",
    "Region",
    "RegionData",
    "Site",
    "SiteRef",
    "Traffic",
    "World",
    "distance_km",
    "door_address",
    "link_address",
    "load_world",
    "nearest_sites",
    "parse_world",
    "place_port",
    "problems",
    "site_address",
    "world_address",
]
