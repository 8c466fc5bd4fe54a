"""The method, one step a module: pure functions, arrays in, arrays out."""
