"""The figures of the page, one a module."""
