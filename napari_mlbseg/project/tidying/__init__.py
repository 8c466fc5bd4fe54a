"""Few pieces and no holes: what a class is said to be, made true of the labels of a case."""
