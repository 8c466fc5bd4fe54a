"""Keys of the slice commands, bound to the viewer at run time.

napari ignores key bindings in manifests. While a labels layer is selected, napari itself uses only
the undo and redo keys, and the working labels pass these two on. The bindings here apply while
another layer is selected.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from napari.components import ViewerModel


@dataclass(frozen=True)
class SliceCommand:
    """A command for the slice on view: it changes the slice, shows a map, or goes to another one.

    Attributes
    ----------
    name
        The name by which panels and dock refer to it.
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
    SliceCommand("accept", "Shift-A", "Accept", "Accept this slice as shown: it becomes clean"),
    SliceCommand("reopen", "Shift-O", "Reopen", "Take back the acceptance or the skip"),
    SliceCommand(
        "skip", "Shift-S", "Skip", "Leave this slice to the network and go to the next open slice"
    ),
    SliceCommand(
        "revert", "Shift-R", "Revert", "Replace your edits with the prediction; undo restores them"
    ),
    SliceCommand(
        "copy_previous", "Shift-C", "Copy previous", "Copy the labels of the previous slice"
    ),
    SliceCommand("copy_next", "Shift-N", "Copy next", "Copy the labels of the next slice"),
    SliceCommand(
        "take_proposed_labels",
        "Shift-T",
        "Take proposed",
        "Take the proposed labels where trust in the prediction is low; undo restores yours",
    ),
    SliceCommand(
        "begins_here",
        "Shift-B",
        "Begins here",
        "The class to paint with begins at this slice; slices before it are certified not to show"
        " it. Once more takes the mark away",
    ),
    SliceCommand(
        "ends_here",
        "Shift-E",
        "Ends here",
        "The class to paint with ends at this slice; slices after it are certified not to show it."
        " Once more takes the mark away",
    ),
)
MOVES = (
    SliceCommand(
        "next_suggested",
        "Shift-G",
        "Next suggested slice",
        "Go to the slice whose correction would teach the network most, then to the next best",
    ),
)
VIEWS = (
    SliceCommand(
        "weights",
        "Shift-W",
        "Weights",
        "Show or hide the meta-weights: how much each initial label counts in training",
    ),
    SliceCommand(
        "trust",
        "Shift-D",
        "Trust",
        "Show or hide the trust map: the lighter a spot, the less the clean slices bear out the"
        " prediction",
    ),
)
TRAVELS = (
    SliceCommand("undo", "Ctrl-Z", "Undo", "Undo"),
    SliceCommand("redo", "Ctrl-Shift-Z", "Redo", "Redo"),
)
EVERY = (*COMMANDS, *MOVES, *VIEWS, *TRAVELS)
READING_LAYOUT = SliceCommand(
    "reading_layout",
    "Shift-L",
    "Reading layout",
    "Fold napari's side panels away, to leave their room to the image; once more brings them back",
)
BOUND = (*EVERY, READING_LAYOUT)
"""Every command with a key: those for slices, and the one for the window."""

MOUSE = (
    ("Wheel, Ctrl+wheel", "Go through the slices, zoom; napari's preferences swap the two"),
    (
        "Right or middle button",
        "Drag: to the side for the width of the grey levels, up and down for their level; a double"
        " right click resets them",
    ),
    ("Shift+right button", "napari's own use of the right button: encircle and fill"),
)

# napari's own keys that help with corrections.
NAPARI_KEYS = (
    ("2 or P, 1 or E", "Paint, erase"),
    ("4 or F, 3", "Fill, polygon"),
    ("5 or L", "Pick the class under the cursor"),
    ("- and =", "Previous or next class"),
    ("[ and ]", "Smaller or larger brush"),
    ("Space", "Hold to pan the view"),
)


def bind(viewer: ViewerModel, actions: Mapping[str, Callable[[], object]]) -> None:
    """Bind the key of every command to the action with the name of the command."""
    for command in BOUND:
        viewer.bind_key(command.key, _press(actions[command.name]), overwrite=True)


def unbind(viewer: ViewerModel) -> None:
    """Release the keys."""
    for command in BOUND:
        viewer.bind_key(command.key, None)


def sheet() -> str:
    """All keys as a table in HTML."""
    rows = [(c.key.replace("-", "+"), c.help) for c in BOUND] + [*MOUSE, *NAPARI_KEYS]
    lines = (f"<tr><td><b>{key}</b>&nbsp;&nbsp;</td><td>{text}</td></tr>" for key, text in rows)
    return f"<table cellspacing=4>{''.join(lines)}</table>"


def _press(action: Callable[[], object]) -> Callable[[ViewerModel], None]:
    def press(viewer: ViewerModel) -> None:
        action()

    return press
