"""A study shared by several people: copies for each, and the way back."""
