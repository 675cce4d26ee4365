"""The keys with which what people wrote is sealed at rest, and what erasing and revoking do to them."""
