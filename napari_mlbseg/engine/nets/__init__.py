"""Building blocks of the steps: network, teacher, views, losses, sampling."""
