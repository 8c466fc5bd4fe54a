"""What a merge needs of a study."""

from dataclasses import dataclass

from napari_mlbseg.project.arrays.store import ArrayStore
from napari_mlbseg.project.catalogue.blind import Blind
from napari_mlbseg.project.catalogue.catalogue import Catalogue
from napari_mlbseg.project.catalogue.database import Database
from napari_mlbseg.project.catalogue.extents import Extents
from napari_mlbseg.project.catalogue.reviews import Reviews
from napari_mlbseg.project.catalogue.revisions import Slices
from napari_mlbseg.project.catalogue.runs import Runs
from napari_mlbseg.project.catalogue.unions import Unions


@dataclass(frozen=True)
class Parts:
    """What a merge needs of a study."""

    identity: str
    database: Database
    catalogue: Catalogue
    arrays: ArrayStore
    slices: Slices
    extents: Extents
    unions: Unions
    reviews: Reviews
    blind: Blind
    runs: Runs
