"""Streams: rooms and inboxes, their entries, membership, cursors, and the one write path (DESIGN, section 6)."""
