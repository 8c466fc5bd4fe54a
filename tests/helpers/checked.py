"""What checks the annotations of the engine while tests run."""

from beartype import BeartypeConf, beartype

annotations = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An int is a float, as it is for mypy."""
