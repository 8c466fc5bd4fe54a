"""What the network learns from and looks at: slices of a study, or patches of its volumes."""
