"""The window: panels that ask, one dock that connects them, one file per frontier."""
