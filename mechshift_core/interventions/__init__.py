"""The kinds of interventions of this package, each a room of its own."""
