"""What single components of a loaded model say and where they look: read from runs in which nothing is changed."""
