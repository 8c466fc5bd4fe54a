"""The trained model for use elsewhere, with all that its prediction needs."""
