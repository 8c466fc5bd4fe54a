"""Export of the trained model for use elsewhere, with everything that prediction needs."""
