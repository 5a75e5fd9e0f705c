"""For the tests of a study: a pytest plugin, and snapshots of findings for syrupy.

Needs the extra `test`: `pip install -c constraints.txt -e '.[test]'` in mechshift's source. pytest finds the
plugin by itself; it imports only pytest until it is used.
"""
