"""The public API for scripts: the names here are stable; everything else in the package may move.

Names are loaded on first use, so importing this module is immediate. torch is loaded with the
first run; Qt and napari never are.

>>> from napari_mlbseg.api import Config
>>> Config(minutes=20).weights
'meta'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from napari_mlbseg.engine.config import Config
    from napari_mlbseg.engine.deploy.export import ExportedModel, export_model
    from napari_mlbseg.engine.deploy.formats import ModelFormat
    from napari_mlbseg.engine.events import (
        BatchShrunk,
        CheckpointSaved,
        CleanSlicesChanged,
        CoverageChanged,
        EarlierModelChosen,
        Event,
        ExtentMarked,
        Failed,
        FellBack,
        Finished,
        Focus,
        Heartbeat,
        ImportedLabelsKept,
        Inbox,
        OnlyCleanSlicesLeft,
        OutOfTime,
        Pause,
        Paused,
        Request,
        Resume,
        Resumed,
        RunStarted,
        SliceAccepted,
        SliceReopened,
        SlicesPublished,
        Stage,
        StageStarted,
        StepDone,
        Stop,
        ValidationScored,
    )
    from napari_mlbseg.engine.loop import Bootstrapper
    from napari_mlbseg.engine.predictions.probabilities import export_predicted_probabilities
    from napari_mlbseg.engine.predictions.suggestions import (
        Suggestion,
        slices_to_correct,
        suggest,
    )
    from napari_mlbseg.errors import Damaged, StudyGone, UserError
    from napari_mlbseg.formats.registry import (
        known_suffixes,
        read_image,
        read_labels,
        write_labels,
        write_map,
    )
    from napari_mlbseg.formats.source import Choice, Mask, SourceInfo
    from napari_mlbseg.project.arrays.store import ArrayName, ArrayStore
    from napari_mlbseg.project.catalogue.blind import Blind
    from napari_mlbseg.project.catalogue.extents import Extents
    from napari_mlbseg.project.catalogue.reviews import Reviews
    from napari_mlbseg.project.catalogue.revisions import Slices
    from napari_mlbseg.project.catalogue.runs import RunRecord, Runs
    from napari_mlbseg.project.catalogue.unions import Union, Unions
    from napari_mlbseg.project.changes import Changes
    from napari_mlbseg.project.exporting.chosen import Chosen
    from napari_mlbseg.project.exporting.export import export_case, export_study
    from napari_mlbseg.project.exporting.kinds import ExportKind, OutFormat
    from napari_mlbseg.project.folder.lock import StudyLocked
    from napari_mlbseg.project.importing.case_files import CaseFiles, ChannelFile, Layout, Pairing
    from napari_mlbseg.project.importing.channels import ChannelRule
    from napari_mlbseg.project.importing.classes import change_classes
    from napari_mlbseg.project.importing.cohort import (
        Imported,
        import_cases,
        import_folder,
        import_images,
        make_study,
    )
    from napari_mlbseg.project.importing.failures import Failure
    from napari_mlbseg.project.importing.layout import find_cases
    from napari_mlbseg.project.importing.names import Rule
    from napari_mlbseg.project.importing.relabelling import Changed, relabel
    from napari_mlbseg.project.importing.relocating import relocate
    from napari_mlbseg.project.labels import StudyLabels
    from napari_mlbseg.project.merging import Merged
    from napari_mlbseg.project.records.cases import Case, LabelClass
    from napari_mlbseg.project.records.channels import Channel, ChannelImage
    from napari_mlbseg.project.records.damage import CatalogueReport, DamagedRevision
    from napari_mlbseg.project.records.extents import End, Extent, ExtentRecord
    from napari_mlbseg.project.records.reach import Reach
    from napari_mlbseg.project.records.reviews import Review, Verdict
    from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState
    from napari_mlbseg.project.repairing.repair import Repaired, repair
    from napari_mlbseg.project.repairing.verify import Finding, Verified, verify
    from napari_mlbseg.project.sharing.agreement import Agreement, agreement
    from napari_mlbseg.project.sharing.splitting import dealt, drawn_blindly, split
    from napari_mlbseg.project.study import Study
    from napari_mlbseg.report.report import write_report
    from napari_mlbseg.samples import PhantomCohort, make_phantom_cohort
    from napari_mlbseg.volume import Geometry, Volume

__all__ = [
    "Agreement",
    "ArrayName",
    "ArrayStore",
    "BatchShrunk",
    "Blind",
    "Bootstrapper",
    "Case",
    "CaseFiles",
    "CatalogueReport",
    "Changed",
    "Changes",
    "Channel",
    "ChannelFile",
    "ChannelImage",
    "ChannelRule",
    "CheckpointSaved",
    "Choice",
    "Chosen",
    "CleanSlicesChanged",
    "Config",
    "CoverageChanged",
    "Damaged",
    "DamagedRevision",
    "EarlierModelChosen",
    "End",
    "Event",
    "ExportKind",
    "ExportedModel",
    "Extent",
    "ExtentMarked",
    "ExtentRecord",
    "Extents",
    "Failed",
    "Failure",
    "FellBack",
    "Finding",
    "Finished",
    "Focus",
    "Geometry",
    "Heartbeat",
    "Imported",
    "ImportedLabelsKept",
    "Inbox",
    "LabelClass",
    "Layout",
    "Mask",
    "Merged",
    "ModelFormat",
    "OnlyCleanSlicesLeft",
    "OutFormat",
    "OutOfTime",
    "Pairing",
    "Pause",
    "Paused",
    "PhantomCohort",
    "Reach",
    "Repaired",
    "Request",
    "Resume",
    "Resumed",
    "Review",
    "Reviews",
    "Rule",
    "RunRecord",
    "RunStarted",
    "Runs",
    "SliceAccepted",
    "SliceKey",
    "SliceRecord",
    "SliceReopened",
    "SliceState",
    "Slices",
    "SlicesPublished",
    "SourceInfo",
    "Stage",
    "StageStarted",
    "StepDone",
    "Stop",
    "Study",
    "StudyGone",
    "StudyLabels",
    "StudyLocked",
    "Suggestion",
    "Union",
    "Unions",
    "UserError",
    "ValidationScored",
    "Verdict",
    "Verified",
    "Volume",
    "agreement",
    "change_classes",
    "dealt",
    "drawn_blindly",
    "export_case",
    "export_model",
    "export_predicted_probabilities",
    "export_study",
    "find_cases",
    "import_cases",
    "import_folder",
    "import_images",
    "known_suffixes",
    "make_phantom_cohort",
    "make_study",
    "read_image",
    "read_labels",
    "relabel",
    "relocate",
    "repair",
    "slices_to_correct",
    "split",
    "suggest",
    "verify",
    "write_labels",
    "write_map",
    "write_report",
]

_HOMES: Final = {
    "engine.config": ("Config",),
    "engine.deploy.export": ("ExportedModel", "export_model"),
    "engine.deploy.formats": ("ModelFormat",),
    "engine.events": (
        *(
            "BatchShrunk",
            "CheckpointSaved",
            "CleanSlicesChanged",
            "CoverageChanged",
            "Event",
            "ExtentMarked",
        ),
        *(
            "Failed",
            "EarlierModelChosen",
            "FellBack",
            "Finished",
            "Focus",
            "Heartbeat",
            "ImportedLabelsKept",
            "Inbox",
            "OnlyCleanSlicesLeft",
        ),
        *("OutOfTime", "Pause", "Paused", "Request", "Resume", "Resumed", "RunStarted"),
        *("SliceAccepted", "SliceReopened", "SlicesPublished", "Stage", "StageStarted"),
        *("StepDone", "Stop", "ValidationScored"),
    ),
    "engine.loop": ("Bootstrapper",),
    "engine.predictions.probabilities": ("export_predicted_probabilities",),
    "engine.predictions.suggestions": ("Suggestion", "slices_to_correct", "suggest"),
    "errors": ("Damaged", "StudyGone", "UserError"),
    "formats.registry": (
        *("known_suffixes", "read_image", "read_labels", "write_labels", "write_map"),
    ),
    "formats.source": ("Choice", "Mask", "SourceInfo"),
    "project.arrays.store": ("ArrayName", "ArrayStore"),
    "project.catalogue.blind": ("Blind",),
    "project.catalogue.extents": ("Extents",),
    "project.catalogue.reviews": ("Reviews",),
    "project.catalogue.revisions": ("Slices",),
    "project.catalogue.runs": ("RunRecord", "Runs"),
    "project.catalogue.unions": ("Union", "Unions"),
    "project.changes": ("Changes",),
    "project.exporting.chosen": ("Chosen",),
    "project.exporting.export": ("export_case", "export_study"),
    "project.exporting.kinds": ("ExportKind", "OutFormat"),
    "project.folder.lock": ("StudyLocked",),
    "project.importing.classes": ("change_classes",),
    "project.importing.cohort": (
        *("Imported", "import_cases", "import_folder", "import_images", "make_study"),
    ),
    "project.importing.case_files": ("CaseFiles", "ChannelFile", "Layout", "Pairing"),
    "project.importing.channels": ("ChannelRule",),
    "project.importing.layout": ("find_cases",),
    "project.importing.names": ("Rule",),
    "project.importing.relabelling": ("Changed", "relabel"),
    "project.importing.relocating": ("relocate",),
    "project.importing.failures": ("Failure",),
    "project.labels": ("StudyLabels",),
    "project.merging": ("Merged",),
    "project.records.cases": ("Case", "LabelClass"),
    "project.records.channels": ("Channel", "ChannelImage"),
    "project.records.damage": ("CatalogueReport", "DamagedRevision"),
    "project.records.extents": ("End", "Extent", "ExtentRecord"),
    "project.records.reach": ("Reach",),
    "project.records.reviews": ("Review", "Verdict"),
    "project.records.slices": ("SliceKey", "SliceRecord", "SliceState"),
    "project.repairing.repair": ("Repaired", "repair"),
    "project.repairing.verify": ("Finding", "Verified", "verify"),
    "project.sharing.agreement": ("Agreement", "agreement"),
    "project.sharing.splitting": ("dealt", "drawn_blindly", "split"),
    "project.study": ("Study",),
    "report.report": ("write_report",),
    "samples": ("PhantomCohort", "make_phantom_cohort"),
    "volume": ("Geometry", "Volume"),
}
"""The module of each name, relative to the package."""

_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


def __dir__() -> list[str]:
    return [*globals(), *__all__]


if not TYPE_CHECKING:  # or a type checker would accept every name

    def __getattr__(name):
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"napari_mlbseg.{_HOME_OF[name]}"), name)
        globals()[name] = found
        return found
