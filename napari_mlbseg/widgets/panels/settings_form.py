"""The settings of a run as a form made from the types, defaults and docstring of `Config`."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from magicgui.widgets import Container, FileEdit, create_widget
from magicgui.widgets.bases import BaseValueWidget
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_mlbseg.engine.config import Config
from napari_mlbseg.widgets.panels.style import narrow

FIRST: Final = ("device", "steps", "minutes", "weights")
MORE: Final = (
    *("resume", "begin_with", "learning_rate", "base_steps", "network", "dimensions"),
    "seed",
)
"""With `FIRST`, these are the settings of ``mlbseg run``, which depend on the study or the machine.
The other settings belong to the method."""


@dataclass(frozen=True)
class _Field:
    """What the form says about a setting beyond `Config`.

    Attributes
    ----------
    advice
        Text of the tooltip after the description in `Config`.
    words
        Labels of the choices; a choice without one is shown unchanged.
    options
        Range and step of a number.
    """

    label: str
    advice: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, float] = field(default_factory=dict)


_FIELDS: Final = {
    "device": _Field(
        "Device",
        words={
            "auto": "automatic",
            "cuda": "NVIDIA GPU (cuda)",
            "mps": "Apple GPU (mps)",
            "cpu": "processor (cpu)",
        },
    ),
    "steps": _Field("Steps", options={"min": 1, "max": 1_000_000, "step": 100}),
    "minutes": _Field("Time limit", options={"min": 0, "max": 10_000, "step": 1}),
    "weights": _Field(
        "Rough labels",
        words={
            "meta": "judged by clean slices",
            "published": "taken as they are, maps of the paper",
            "uniform": "taken as they are, no maps",
            "none": "not used: clean slices only",
        },
    ),
    "resume": _Field("Start afresh"),
    "begin_with": _Field("Begin with"),
    "learning_rate": _Field(
        "Learning rate",
        f"How far a step moves the network, a number without a unit; {Config().learning_rate} suits"
        " most studies. Make it ten times smaller if the losses jump, or if the training ended"
        " because it became unstable.",
        options={"min": 0.00001, "max": 0.1, "step": 0.00001},
    ),
    "base_steps": _Field("Base model steps", options={"min": 1, "max": 1_000_000, "step": 100}),
    "network": _Field("Network", words={"auto": "automatic", "unet": "U-Net", "unet++": "U-Net++"}),
    "dimensions": _Field(
        "Network sees",
        words={
            "auto": "automatic",
            "2d": "a slice (2d)",
            "2.5d": "a slice with its neighbours (2.5d)",
            "3d": "a part of the volume (3d)",
        },
    ),
    "seed": _Field("Seed", options={"min": 0, "max": 1_000_000, "step": 1}),
}
_FOLDED: Final = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"
_OPEN: Final = "\N{BLACK DOWN-POINTING SMALL TRIANGLE}"
_AFRESH: Final = (
    "At the next start, forget what the network has learnt and train from the beginning. Your"
    " slices and the imported labels stay. Applies to one start only."
)


class SettingsForm(QWidget):
    """A control for each setting: everyday ones first, the others in a section that unfolds.

    Attributes
    ----------
    more
        The section that unfolds.
    """

    def __init__(self) -> None:
        super().__init__()
        self._controls = {name: _control(name) for name in (*FIRST, *MORE)}
        self._shape_controls()
        self._first = _rows([self._controls[name] for name in FIRST])
        self._further = _rows([self._controls[name] for name in MORE])
        self.more = section(
            "More", "Show or hide settings that are rarely changed", self._further.native
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._first.native)
        layout.addWidget(self.more)

    def config(self, **others: Any) -> Config:
        """Return the settings shown, with `others` that the form does not have."""
        shown = {name: control.value for name, control in self._controls.items()}
        shown["minutes"] = shown["minutes"] or None
        shown["resume"] = not shown["resume"]
        shown["begin_with"] = str(shown["begin_with"]) if shown["begin_with"] else None
        return Config(**shown, **others)

    def begin(self) -> None:
        """Take note that a run has started with these settings; the next run resumes from it."""
        self._controls["resume"].value = False
        self._controls["begin_with"].value = None

    def choose_device(self, name: str) -> None:
        """Show another device, as `Config` names it."""
        self._controls["device"].value = name

    def allow(self, on: bool) -> None:
        """Set whether settings can be changed."""
        self._first.enabled = self._further.enabled = on

    def control(self, name: str) -> Any:
        """Return the Qt widget that shows a setting of `Config`."""
        return self._controls[name].native

    def _shape_controls(self) -> None:
        for control in self._controls.values():
            if isinstance(control.native, QComboBox):
                narrow(control.native)
        minutes, rate = self.control("minutes"), self.control("learning_rate")
        minutes.setDecimals(0)
        minutes.setSuffix(" min")
        minutes.setSpecialValueText("none")
        rate.setDecimals(5)
        rate.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)


def described(text: str) -> dict[str, str]:
    """Return each name's description in the Attributes section of a docstring, as plain text."""
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in inspect.cleandoc(text).partition("Attributes\n----------\n")[2].splitlines():
        if line.startswith(" "):
            for name in names:
                found[name].append(line.strip())
        else:
            names = [name for name in line.split(", ") if name.isidentifier()]
            found |= {name: [] for name in names}
    return {name: _plain(" ".join(lines)) for name, lines in found.items()}


def _plain(text: str) -> str:
    """Remove markup and references to modules."""
    return re.sub(r",? see `[^`]*`", "", text).replace("`", "")


def _control(name: str) -> BaseValueWidget[Any]:
    about, kind, default = _FIELDS[name], get_type_hints(Config)[name], getattr(Config(), name)
    if name == "resume":
        return _made(
            name, kind, not default, {"text": about.label, "label": "", "tooltip": _AFRESH}
        )
    options: dict[str, Any] = {"label": about.label, **about.options}
    if name == "begin_with":
        kind = Path | None
        options |= {"mode": "d", "nullable": True}
    if get_origin(kind) is Literal:
        options["choices"] = [(about.words.get(one, one), one) for one in get_args(kind)]
    elif float in get_args(kind):
        kind, default = float, default or 0.0  # 0 is shown as "none"
    said = described(Config.__doc__ or "").get(name, "")
    options["tooltip"] = f"{said} {about.advice}".strip()
    return _made(name, kind, default, options)


def _made(name: str, kind: Any, value: Any, options: dict[str, Any]) -> BaseValueWidget[Any]:
    made = create_widget(value, annotation=kind, name=name, options=options)
    assert isinstance(made, BaseValueWidget)
    if isinstance(made, FileEdit):
        made.line_edit.tooltip = options["tooltip"]
        made.choose_btn.text = "…"
        made.choose_btn.max_width = 36
        made.choose_btn.tooltip = "Choose the folder of a study or of an exported bundle"
    return made


def _rows(controls: list[BaseValueWidget[Any]]) -> "Container[BaseValueWidget[Any]]":
    rows: Container[BaseValueWidget[Any]] = Container()
    rows.extend(controls)  # added together, so that all labels become as wide as the widest
    rows.margins = (0, 0, 0, 0)
    rows.native.layout().setSpacing(3)
    return rows


def section(title: str, tooltip: str, content: QWidget) -> QCollapsible:
    """Return a part of a panel that is folded away, and unfolds under its title."""
    # The triangle is part of the text: an icon would keep the colour of the current theme.
    section = QCollapsible(title)
    section.setExpandedIcon(QIcon())
    section.setCollapsedIcon(QIcon())
    section.setDuration(0)
    toggle = section.toggleButton()
    toggle.setToolTip(tooltip)
    toggle.setStyleSheet("text-align: left; border: none; background: transparent;")
    section.addWidget(content)
    layout = section.layout()
    assert layout is not None
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)

    def show(on: bool) -> None:
        section.setText(f"{_OPEN if on else _FOLDED} {title}")
        section.content().setVisible(on)  # folded it has no height, but Tab would still reach it

    section.toggled.connect(show)
    show(False)
    return section
