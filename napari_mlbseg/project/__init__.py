"""A study on disk: human work in a SQLite catalogue, machine work in zarr arrays."""
