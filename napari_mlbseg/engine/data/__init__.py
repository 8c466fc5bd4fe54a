"""Data for training and prediction: slices of a study, or patches of its volumes."""
