"""A simulated annotator, so that methods and policies can be compared on data with a truth."""
