"""A simulated annotator, to compare methods and policies on data with true labels."""
