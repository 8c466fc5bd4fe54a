"""The method, one module per step: pure functions from arrays to arrays."""
