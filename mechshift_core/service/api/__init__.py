"""The HTTP interface, version 1: `/api/v1`."""
