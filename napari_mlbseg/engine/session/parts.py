"""The parts that a run is made of; every stage works with the same ones."""

from dataclasses import dataclass

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Inbox
from napari_mlbseg.engine.session.attention import Attention
from napari_mlbseg.engine.session.between import Between
from napari_mlbseg.engine.session.braking import Braking
from napari_mlbseg.engine.session.budget import Budget
from napari_mlbseg.engine.session.journal import Journal
from napari_mlbseg.engine.session.pace import Pace
from napari_mlbseg.engine.session.recovery import Recovery
from napari_mlbseg.engine.session.showing import Showing
from napari_mlbseg.engine.session.upkeep import Upkeep
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.study import Study


@dataclass(frozen=True)
class Parts:
    """The study, the trainer, and the helpers of a run, one for each duty."""

    study: Study
    trainer: Trainer
    attention: Attention
    budget: Budget
    pace: Pace
    journal: Journal
    braking: Braking
    showing: Showing
    upkeep: Upkeep
    between: Between
    recovery: Recovery


def assemble(study: Study, config: Config, inbox: Inbox, budget: Budget) -> Parts:
    """Build the parts of a run; reads the study's records, and neither voxels nor checkpoints."""
    attention, pace, journal = Attention(inbox), Pace(budget.now), Journal(study)
    trainer = Trainer(study, config, check=attention.check)
    braking = Braking(study, trainer)
    showing = Showing(
        study, trainer, braking, budget, share=config.publish_share, check=attention.check
    )
    return Parts(
        study,
        trainer,
        attention,
        budget,
        pace,
        journal,
        braking,
        showing,
        Upkeep(trainer, braking, journal, budget.now),
        Between(study, trainer, attention, braking, showing, pace),
        Recovery(trainer),
    )
