"""One site's gateway: REST and WebSocket in one process; sessions, limits and precise errors."""
