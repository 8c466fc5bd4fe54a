"""Keys of the slice commands, bound to the viewer at run time.

napari ignores key bindings in manifests. While a labels layer is selected, napari itself uses only
the undo and redo keys, and the working labels pass these two on. The bindings here apply while
another layer is selected.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from napari.components import ViewerModel


@dataclass(frozen=True)
class SliceCommand:
    """A command for the slice on view: it changes the slice, shows a map, or goes to another one.

    Attributes
    ----------
    name
        The name by which panels and dock refer to it.
    quick
        A second key, for the left hand alone and without Shift.
    """

    name: str
    key: str
    text: str
    help: str
    quick: str = ""

    @property
    def keys(self) -> str:
        """The keys in words; none for a command that has but a button and the palette."""
        both = filter(None, (self.quick, self.key))
        return " or ".join(key.replace("-", "+") for key in both)

    @property
    def tooltip(self) -> str:
        """Help and key in one line."""
        return self.tip(self.help)

    def tip(self, text: str) -> str:
        """A text and the key in one line."""
        return f"{text} ({self.keys})" if self.keys else text


COMMANDS = (
    SliceCommand(
        "accept",
        "Shift-A",
        "Accept and go on",
        "Accept this slice as shown: it becomes clean; then show the next open slice",
        quick="A",
    ),
    SliceCommand("reopen", "Shift-O", "Reopen", "Take back the acceptance or the skip"),
    SliceCommand(
        "skip",
        "Shift-S",
        "Skip",
        "Leave this slice to the network and go to the next open slice",
        quick="S",
    ),
    SliceCommand(
        "revert", "Shift-R", "Revert", "Replace your edits with the prediction; undo restores them"
    ),
    SliceCommand(
        "copy_previous",
        "Shift-C",
        "Copy previous",
        "Copy the labels of the previous slice; what you painted across this one stays",
        quick="C",
    ),
    SliceCommand(
        "copy_next",
        "Shift-N",
        "Copy next",
        "Copy the labels of the next slice; what you painted across this one stays",
    ),
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
        "Next suggested",
        "Go to the slice whose correction would teach the network most, then to the next best",
        quick="G",
    ),
)
VIEWS = (
    SliceCommand(
        "initial",
        "F7",
        "Initial",
        "Show or hide the outlines of the initial labels: imported, or made by the base model",
    ),
    SliceCommand(
        "prediction", "Shift-Z", "Prediction", "Show or hide the outlines of the prediction"
    ),
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
    SliceCommand(
        "hide_all", "Shift-X", "Hide all", "Show the image alone; once more shows what was shown"
    ),
)
TRAVELS = (
    SliceCommand("undo", "Ctrl-Z", "Undo", "Undo"),
    SliceCommand("redo", "Ctrl-Shift-Z", "Redo", "Redo"),
)
OF_A_SLICE = (*COMMANDS, *MOVES, *VIEWS, *TRAVELS)
TOOLS = (
    SliceCommand(
        "smart_brush",
        "Shift-L",
        "Smart brush",
        "The brush paints only what hangs on to the pixel under the cursor and looks like it; the"
        " eraser stays exact. Once more switches it off",
    ),
    SliceCommand(
        "fix_region",
        "Shift-F",
        "Fix region",
        "Click a region that is wrong: it takes the proposed labels. With Ctrl it takes the"
        " prediction, with Alt the initial labels; with Shift it goes on into untouched slices."
        " Drag to move the view. Once more goes back to the brush",
    ),
    SliceCommand(
        "answer",
        "F2",
        "Answer at once",
        "Go on from your strokes on this slice: what else would change is outlined. Enter takes it,"
        " Escape drops it, a further stroke asks anew",
    ),
    SliceCommand(
        "pass_on",
        "Shift-F2",
        "Pass on",
        "Let untouched neighbouring slices take what you corrected on this one, as drafts, as far"
        " as image and labels agree",
    ),
    SliceCommand(
        "interpolate",
        "Shift-I",
        "All between",
        "Fill all untouched slices between the nearest slices of yours on both sides with drafts",
    ),
    SliceCommand(
        "interpolate_here",
        "Shift-Y",
        "This slice",
        "Make a draft of this untouched slice from the nearest slices of yours on both sides",
    ),
    SliceCommand(
        "grow",
        "Shift-Up",
        "Grow",
        "The class to paint with grows by a pixel into the background",
    ),
    SliceCommand("shrink", "Shift-Down", "Shrink", "The class to paint with shrinks by a pixel"),
    SliceCommand("smooth", "Shift-M", "Smooth", "Round off the border of the class to paint with"),
    SliceCommand(
        "fill_holes",
        "Shift-H",
        "Fill holes",
        "Fill the background that the class to paint with encloses on this slice",
    ),
    SliceCommand(
        "keep_largest",
        "Shift-K",
        "Keep largest",
        "Keep the largest piece of the class to paint with on this slice; remove the others",
    ),
    SliceCommand(
        "remove_islands",
        "Shift-P",
        "Remove islands",
        "Remove small pieces of the class to paint with from this slice; the largest stays",
    ),
    SliceCommand(
        "range_from",
        "Shift-Q",
        "From here",
        "The range of slices to accept begins at the slice on view",
    ),
    SliceCommand(
        "accept_range",
        "Shift-U",
        "Accept range",
        "Accept all open slices from where the range begins to the slice on view, as shown",
    ),
    SliceCommand(
        "go_to_number", "Shift-J", "Go to slice", "Type the number of a slice and press Enter"
    ),
)
_AS_DRAFTS = (
    "slices of yours, skipped slices and locked classes stay, and undo takes all of it back at once"
)
IN_VOLUME = (
    SliceCommand(
        "grow_in_volume",
        "",
        "Grow",
        f"The class to paint with grows by a pixel in all three directions, as drafts;"
        f" {_AS_DRAFTS}",
    ),
    SliceCommand(
        "shrink_in_volume",
        "",
        "Shrink",
        f"The class to paint with shrinks by a pixel in all three directions, as drafts;"
        f" {_AS_DRAFTS}",
    ),
    SliceCommand(
        "smooth_in_volume",
        "",
        "Smooth",
        f"Round off the surface of the class to paint with, as drafts; {_AS_DRAFTS}",
    ),
    SliceCommand(
        "fill_holes_in_volume",
        "",
        "Fill holes",
        f"Fill what the class to paint with encloses on all sides, as drafts; {_AS_DRAFTS}",
    ),
    SliceCommand(
        "keep_largest_in_volume",
        "",
        "Keep largest",
        f"Keep the largest piece of the class to paint with in the volume, as drafts; {_AS_DRAFTS}",
    ),
    SliceCommand(
        "remove_islands_in_volume",
        "",
        "Remove islands",
        f"Remove small pieces of the class to paint with from the volume, as drafts; {_AS_DRAFTS}",
    ),
)
READING_LAYOUT = SliceCommand(
    "reading_layout",
    "F8",
    "Reading layout",
    "Fold napari's side panels away, to leave their room to the image; once more brings them back",
)
PLANES = SliceCommand(
    "planes",
    "F9",
    "Other planes",
    "Show the two other planes through the pointer, with a crosshair; a click on them goes there."
    " Once more closes them",
)
PLANES_HERE = SliceCommand(
    "planes_here", "Shift-F9", "Planes here", "Move the crosshair to where the pointer is"
)
RULER = SliceCommand(
    "ruler", "F10", "Ruler", "Measure distances by dragging; once more goes back to the brush"
)
NEXT_CHANNEL = SliceCommand(
    "next_channel",
    "F6",
    "Next channel",
    "Show the next channel of the case, with its own grey levels; after the last one, the first",
)
READING = (READING_LAYOUT, PLANES, PLANES_HERE, RULER, NEXT_CHANNEL)
EVERY = (*OF_A_SLICE, *TOOLS, *IN_VOLUME, *READING)
APPROVE = SliceCommand(
    "approve",
    "Shift-A",
    "Approve",
    "Agree with this slice as it was accepted, and go on to the next slice to review",
    quick="A",
)
SEND_BACK = SliceCommand(
    "send_back",
    "Shift-R",
    "Send back",
    "Send this slice back with the note to whoever accepted it, and go on: it counts as a draft",
    quick="R",
)
NEXT_TO_REVIEW = SliceCommand(
    "next_to_review", "Shift-G", "Next to review", "Go to the next slice to review", quick="G"
)
REVIEW = (APPROVE, SEND_BACK, NEXT_TO_REVIEW)
"""Of the window for reviewing, which paints nothing: these keys mean something else there."""
BLINK = SliceCommand(
    "blink", "D", "Blink", "Hold to see the image alone; what was shown comes back"
)
CLASS_KEYS = tuple(f"Ctrl-{digit}" for digit in range(1, 10))
"""Choose the first nine classes of the study."""

MOUSE = (
    ("Wheel, Ctrl+wheel", "Go through the slices, zoom; napari's preferences swap the two"),
    (
        "Right or middle button",
        "Drag: to the side for the width of the grey levels, up and down for their level; a double"
        " right click resets them",
    ),
    ("Shift+right button", "napari's own use of the right button: encircle and fill"),
)

ANSWER_KEYS = (("Enter, Escape", "While an answer is offered: take it, drop it"),)

# napari's own keys that help with corrections.
NAPARI_KEYS = (
    ("2 or P, 1 or E", "Paint, erase"),
    ("4 or F, 3", "Fill, polygon"),
    ("5 or L", "Pick the class under the cursor"),
    ("- and =", "Previous or next class"),
    ("[ and ]", "Smaller or larger brush"),
    ("Space", "Hold to pan the view"),
)


def bind(
    viewer: ViewerModel,
    actions: Mapping[str, Callable[[], object]],
    *,
    blink: Callable[[], object],
    choose: Callable[[int], object],
) -> None:
    """Bind the keys of every command to the action with the name of the command.

    `blink` is called when its key goes down and when it comes up, `choose` with the place (from 0)
    of the class that is chosen.
    """
    _bind(viewer, EVERY, actions)
    viewer.bind_key(BLINK.key, _hold(blink), overwrite=True)
    for place, key in enumerate(CLASS_KEYS):
        viewer.bind_key(key, _press(partial(choose, place)), overwrite=True)


def bind_for_review(
    viewer: ViewerModel,
    actions: Mapping[str, Callable[[], object]],
    *,
    blink: Callable[[], object],
) -> None:
    """Bind the keys of the window for reviewing; `actions` and `blink` as for `bind`."""
    _bind(viewer, (*REVIEW, *(view for view in VIEWS if view.name in actions)), actions)
    viewer.bind_key(BLINK.key, _hold(blink), overwrite=True)


def unbind(viewer: ViewerModel) -> None:
    """Release the keys."""
    for key in every_key():
        viewer.bind_key(key, None)


def every_key() -> tuple[str, ...]:
    """Return all keys that are bound."""
    of_commands = (
        key for command in (*EVERY, BLINK) for key in (command.key, command.quick) if key
    )
    return (*of_commands, *CLASS_KEYS)


def sheet() -> str:
    """All keys as a table in HTML."""
    classes = f"{CLASS_KEYS[0]} to {CLASS_KEYS[-1][-1]}".replace("-", "+")
    rows = [(c.keys, c.help) for c in (*EVERY, BLINK) if c.keys]
    rows += [(classes, "Choose one of the first nine classes to paint with")]
    rows += [*ANSWER_KEYS, *MOUSE, *NAPARI_KEYS]
    lines = (f"<tr><td><b>{key}</b>&nbsp;&nbsp;</td><td>{text}</td></tr>" for key, text in rows)
    return f"<table cellspacing=4>{''.join(lines)}</table>"


def _bind(
    viewer: ViewerModel,
    commands: Iterable[SliceCommand],
    actions: Mapping[str, Callable[[], object]],
) -> None:
    for command in commands:
        for key in filter(None, (command.key, command.quick)):
            viewer.bind_key(key, _press(actions[command.name]), overwrite=True)


def _press(action: Callable[[], object]) -> Callable[[ViewerModel], None]:
    def press(viewer: ViewerModel) -> None:
        action()

    return press


def _hold(action: Callable[[], object]) -> Callable[[ViewerModel], Iterator[None]]:
    def hold(viewer: ViewerModel) -> Iterator[None]:
        action()
        yield
        action()

    return hold
