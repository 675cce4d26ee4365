"""What may cross a border between regions, and how."""
