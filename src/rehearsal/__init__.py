"""The world outside, on loopback: GitHub and its runner, for `make ci` and the tests; never shipped."""
