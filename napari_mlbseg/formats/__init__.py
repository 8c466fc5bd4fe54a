"""Files on one side, volumes in the display frame on the other."""
