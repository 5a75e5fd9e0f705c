"""Plan, cells, store and runner."""
