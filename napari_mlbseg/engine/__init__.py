"""The bootstrapping loop: frozen inputs in, frozen events out; no Qt and no napari."""
