"""What is damaged in a study, and what is shown instead."""

from dataclasses import dataclass

from napari_mlbseg.project.records.slices import SliceKey


@dataclass(frozen=True)
class DamagedRevision:
    """A revision that cannot be what was saved, and that no later revision supersedes.

    Attributes
    ----------
    key
        The slice; None where not even that is known.
    why
        Why it cannot be.
    instead
        The revision before it, which is offered as a draft; None without one.
    case
        What the case is called; empty where it is not known.
    """

    revision: int
    key: SliceKey | None
    why: str
    instead: int | None
    case: str = ""

    def __str__(self) -> str:
        if self.key is None:
            where, advice = "of an unknown slice", "Compare the slices with what you remember"
        else:
            where = f"of slice {self.key.index} along axis {self.key.axis} of {self.case}"
            advice = "Correct the slice again"
        if self.instead is not None:
            advice = f"Revision {self.instead} is shown instead, as a draft: check and accept it"
        return (
            f"Revision {self.revision} {where} is damaged ({self.why}). {advice}, or run "
            "`mlbseg repair`, which may find it in a backup."
        )


@dataclass(frozen=True)
class CatalogueReport:
    """What was found in a catalogue: flaws in sentences, and numbers of what was looked at."""

    flaws: tuple[str, ...]
    revisions: int = 0
    unhashed: int = 0
    free_pages: int = 0
