"""A study told in one file, for people who were not there."""
