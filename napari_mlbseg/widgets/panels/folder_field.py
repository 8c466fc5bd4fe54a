"""A path of a folder, typed or browsed for."""

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget


class FolderField(QWidget):
    """A path with a button to browse for it."""

    def __init__(self, tooltip: str) -> None:
        super().__init__()
        self.text = QLineEdit()
        self.text.setToolTip(tooltip)
        browse = QPushButton("Browse…")
        browse.setToolTip(tooltip)
        browse.clicked.connect(self._browse)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text, 1)
        layout.addWidget(browse)

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, self.text.toolTip(), self.text.text())
        if folder:
            self.text.setText(folder)


def images_field() -> FolderField:
    """Return a field for the folder of the images to import."""
    return FolderField("Folder with the images, one file or DICOM folder per case")


def labels_field() -> FolderField:
    """Return a field for the folder of their labels."""
    return FolderField("Folder with labels that have the same file names as the images; optional")
