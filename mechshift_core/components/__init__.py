"""What single components say and where they look: read from runs in which nothing is changed."""
