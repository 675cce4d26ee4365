"""Companies, people, credentials, roles and home regions: who is who, and who may sign in."""
