"""The tests: a package, so that ``tests.harness`` can be imported and run as a module."""
