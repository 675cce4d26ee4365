"""Where a region's objects lie."""
