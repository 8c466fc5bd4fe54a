"""Which classes are locked and which are hidden: how a study is looked at, not what it holds."""

from qtpy.QtCore import QObject, Signal

from napari_mlbseg.project.labels import Labels


class ClassMarks(QObject):
    """Locks and eyes of the classes, by their values, while a study is open.

    Attributes
    ----------
    locked
        No edit replaces the pixels of these classes.
    hidden
        These classes are not shown on labels and predictions.

    Signals
    -------
    changed()
        A class was locked, unlocked, hidden or shown.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.locked: frozenset[int] = frozenset()
        self.hidden: frozenset[int] = frozenset()

    def switch_lock(self, value: int) -> None:
        """Lock a class, or unlock it."""
        self.locked ^= {value}
        self.changed.emit()

    def switch_eye(self, value: int) -> None:
        """Hide a class, or show it again."""
        self.hidden ^= {value}
        self.changed.emit()

    def show(self, value: int) -> None:
        """Show a class if it is hidden."""
        if value in self.hidden:
            self.switch_eye(value)

    def forget(self) -> None:
        """Unlock and show every class."""
        if self.locked or self.hidden:
            self.locked = self.hidden = frozenset()
            self.changed.emit()


def stayed_in_words(wanted: Labels, kept: Labels) -> str:
    """Say how many pixels an edit left because their class is locked; nothing if there are none.

    Parameters
    ----------
    wanted, kept
        The labels of slices as the edit wanted them, and as they are now.
    """
    return _counted(wanted, kept, "whose class is locked")


def painted_across_in_words(wanted: Labels, kept: Labels) -> str:
    """Say how many pixels an edit left because a person painted them on slices across."""
    return _counted(wanted, kept, "that you painted across it")


def _counted(wanted: Labels, kept: Labels, which: str) -> str:
    count = int((wanted != kept).sum())
    if not count:
        return ""
    return f" {'1 pixel' if count == 1 else f'{count} pixels'} {which} stayed."
