"""The doors of a site: world, health and keys become Envoy's configuration, and Envoy is watched taking it in."""
