"""The command line: parses, prints, and turns errors into exit codes; everything else is elsewhere."""
