"""The window: panels that send requests, and one dock that connects them."""
