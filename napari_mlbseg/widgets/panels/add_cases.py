"""Asks for folders whose images become further cases of the open study."""

from pathlib import Path

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QFormLayout, QVBoxLayout, QWidget

from napari_mlbseg.widgets.panels.folder_field import images_field, labels_field
from napari_mlbseg.widgets.panels.style import quiet


class AddCasesDialog(QDialog):
    """Asks for a folder of images, and perhaps one of labels."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Add cases")
        self.setMinimumWidth(520)
        self.images, self.labels = images_field(), labels_field()
        form = QFormLayout()
        form.addRow("Images", self.images)
        form.addRow("Initial labels (optional)", self.labels)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self.ok = buttons.button(QDialogButtonBox.StandardButton.Ok)
        self.images.text.textChanged.connect(self._check)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(quiet("Cases that the study has already stay as they are."))
        layout.addWidget(buttons)
        self._check()

    def answer(self) -> tuple[Path, Path | None]:
        """Return the folder of images, and that of labels if there is one."""
        labels = self.labels.text.text().strip()
        return Path(self.images.text.text().strip()), Path(labels) if labels else None

    def _check(self) -> None:
        if self.ok is not None:
            self.ok.setEnabled(bool(self.images.text.text().strip()))
