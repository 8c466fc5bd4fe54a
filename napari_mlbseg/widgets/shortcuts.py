"""Keys of the slice commands, bound to the viewer at run time.

napari ignores key bindings in manifests. None of these keys is used by napari while a labels
layer is painted on, but those of undo and redo, which the working labels hand on themselves: here
they are bound for the time when another layer is selected.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from napari.components import ViewerModel


@dataclass(frozen=True)
class SliceCommand:
    """Something that can be done to the slice on view, or shown there, or the way to another.

    Attributes
    ----------
    name
        What panels and dock call it.
    """

    name: str
    key: str
    text: str
    help: str

    @property
    def tooltip(self) -> str:
        """Help and key in one line."""
        return self.tip(self.help)

    def tip(self, text: str) -> str:
        """A text and the key in one line."""
        return f"{text} ({self.key.replace('-', '+')})"


COMMANDS = (
    SliceCommand(
        "accept", "Shift-A", "Accept", "This slice is right as it is shown: make it clean"
    ),
    SliceCommand("reopen", "Shift-O", "Reopen", "Take acceptance or skipping back"),
    SliceCommand("skip", "Shift-S", "Skip", "Leave this slice to the machine and go on"),
    SliceCommand(
        "revert", "Shift-R", "Revert", "Take the prediction in place of your edits; undo works"
    ),
    SliceCommand(
        "copy_previous", "Shift-C", "Copy previous", "Take the labels of the slice before this one"
    ),
    SliceCommand(
        "copy_next", "Shift-N", "Copy next", "Take the labels of the slice after this one"
    ),
    SliceCommand(
        "take_proposed_labels",
        "Shift-T",
        "Take proposals",
        "Where trust in the prediction is low, take the label that the clean slices vote for; "
        "undo works",
    ),
)
MOVES = (
    SliceCommand(
        "next_suggested",
        "Shift-G",
        "Next suggested slice",
        "Go to the slice of the study whose correction would teach most, then to the next best",
    ),
)
VIEWS = (
    SliceCommand(
        "weights", "Shift-W", "Weights", "Show or hide how much each initial label counts"
    ),
    SliceCommand(
        "trust",
        "Shift-D",
        "Objections",
        "Show or hide where the clean slices object to the prediction: the lighter, the less trust",
    ),
)
TRAVELS = (
    SliceCommand("undo", "Ctrl-Z", "Undo", "Undo"),
    SliceCommand("redo", "Ctrl-Shift-Z", "Redo", "Redo"),
)
EVERY = (*COMMANDS, *MOVES, *VIEWS, *TRAVELS)

# Of napari itself, worth knowing while correcting.
NAPARI_KEYS = (
    ("2 or P, 1 or E", "Paint, erase"),
    ("4 or F, 3", "Fill, polygon"),
    ("5 or L", "Pick the class under the cursor"),
    ("- and =", "Previous or next class"),
    ("[ and ]", "Smaller or larger brush"),
    ("Space", "Hold to move the view"),
)


def bind(viewer: ViewerModel, actions: Mapping[str, Callable[[], object]]) -> None:
    """Bind the key of every command to the action of its name."""
    for command in EVERY:
        viewer.bind_key(command.key, _press(actions[command.name]), overwrite=True)


def unbind(viewer: ViewerModel) -> None:
    """Release the keys."""
    for command in EVERY:
        viewer.bind_key(command.key, None)


def sheet() -> str:
    """All keys as a table in HTML."""
    rows = [(c.key.replace("-", "+"), c.help) for c in EVERY] + list(NAPARI_KEYS)
    lines = (f"<tr><td><b>{key}</b>&nbsp;&nbsp;</td><td>{text}</td></tr>" for key, text in rows)
    return f"<table cellspacing=4>{''.join(lines)}</table>"


def _press(action: Callable[[], object]) -> Callable[[ViewerModel], None]:
    def press(viewer: ViewerModel) -> None:
        action()

    return press
