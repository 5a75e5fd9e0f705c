"""For the tests of a study: a pytest plugin, and snapshots of findings for syrupy.

Needs `pip install 'mechshift[test]'`. pytest finds the plugin by itself; it imports only pytest until it is used.
"""
