"""The window: panels that send requests, and one dock that connects them."""

from napari_mlbseg.window_needs import check_window

# napari's plugin manager installs without the extra `napari`, so nothing else has asked yet.
check_window()
