"""The kinds of measures on existing cells of this package, each a room of its own."""
