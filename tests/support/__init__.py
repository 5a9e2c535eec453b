"""Support code of the tests; a package, so that its names stand in nobody's way."""
