"""Whether a study has been trained; knows no torch, so that a refusal does not wait for it."""

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.study import Study


def is_trained(study: Study) -> bool:
    """Whether a training has left a checkpoint."""
    return any(study.checkpoint_path.parent.glob("*.pt"))


def check_trained(study: Study) -> None:
    """Raise a `UserError` that says what to do where there is no checkpoint yet."""
    if not is_trained(study):
        raise UserError(
            f"{study.path} has no trained network yet. Accept a few slices and start the training "
            "(on the command line: mlbseg run), then export again."
        )
