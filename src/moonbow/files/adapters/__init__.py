"""Where files' bytes rest, and who looks for viruses in them: one engine each."""
