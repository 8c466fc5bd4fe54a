"""Whether a study has been trained; does without torch, so that a refusal is immediate."""

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.study import Study


def is_trained(study: Study) -> bool:
    """Whether the study has a checkpoint."""
    return any(study.checkpoint_path.parent.glob("*.pt"))


def check_trained(study: Study) -> None:
    """Raise a `UserError` that says what to do if there is no checkpoint yet."""
    if not is_trained(study):
        raise UserError(
            f"{study.path} has no trained network yet. Accept a few slices and start the training "
            "(on the command line: mlbseg run), then export again."
        )
