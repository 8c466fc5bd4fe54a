"""Reading files into volumes in the display frame, and writing volumes to files."""
