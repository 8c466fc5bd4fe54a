"""What the steps are made of: network, teacher, views, losses, sampling."""
