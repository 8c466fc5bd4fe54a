"""What an export holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.exporting.chosen import Chosen
from napari_mlbseg.project.exporting.kinds import LABEL_KINDS, ExportKind
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.study import Study
from napari_mlbseg.project.tidying.told import Tidied

Tell = Callable[[str, Tidied], None]
"""Called with the name of a case that was written and what was tidied, if a class asks for it."""


@dataclass(frozen=True)
class Contents:
    """Some cases of a study, and what of them.

    Attributes
    ----------
    cases
        The cases, at least one.
    chosen
        The slices of the one case, if not all of them.
    left_out
        Cases that were asked for but have nothing to export.
    alone
        Whether a single case was asked for.
    """

    study: Study
    cases: tuple[Case, ...]
    kind: ExportKind
    chosen: Chosen | None = None
    left_out: tuple[Case, ...] = ()
    alone: bool = False

    @property
    def partial(self) -> bool:
        """Whether it says nothing of some voxels."""
        return self.chosen is not None or self.kind is ExportKind.ACCEPTED

    @property
    def table_name(self) -> str:
        """What a table is called; that of a single case is called after it."""
        return f"{self.cases[0].name}_volumes.csv" if self.alone else "volumes.csv"


def contents_of(
    study: Study,
    kind: ExportKind,
    case_ids: Sequence[str] | None = None,
    chosen: Chosen | None = None,
) -> Contents:
    """The cases with these ids, by default all; of accepted slices those that have some.

    Raises
    ------
    UserError
        If nothing is left, or if slices are chosen of maps, of a table, or of several cases.
    """
    cases = study.cases if case_ids is None else tuple(map(study.case, case_ids))
    if not cases:
        raise UserError("The study has no cases yet. Import images first.")
    if chosen is not None and len(cases) != 1:
        raise UserError("Slices are those of one case: name it.")
    if chosen is not None and kind not in LABEL_KINDS:
        raise UserError(f"Slices can be chosen of labels, not of {kind.value}.")
    if kind is ExportKind.ACCEPTED:
        some = tuple(case for case in cases if study.slices.teaching(case.id))
        if not some:
            raise UserError(_nothing(study))
        left_out = tuple(case for case in cases if case not in some)
        return Contents(study, some, kind, chosen, left_out)
    return Contents(study, cases, kind, chosen, alone=case_ids is not None and len(cases) == 1)


def _nothing(study: Study) -> str:
    if study.reviews.only_approved:
        return (
            "Only approved slices teach in this study, and none of these cases has one yet. Review "
            "some first."
        )
    return "No slice of these cases is accepted yet. Accept some first."
