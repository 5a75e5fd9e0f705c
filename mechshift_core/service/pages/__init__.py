"""The pages: what the interface does, for people with a browser. All of them work without a script."""
