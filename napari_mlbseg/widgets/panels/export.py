"""Exports labels, predictions, maps and the trained model as files."""

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat, formats_for
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.widgets.panels.style import Hinted, button, narrow, quiet
from napari_mlbseg.widgets.requests import Export, ModelExport

_KINDS = {
    ExportKind.LABELS: "labels: your slices over the prediction",
    ExportKind.ACCEPTED: "accepted slices only",
    ExportKind.PREDICTION: "prediction only",
    ExportKind.INITIAL: "initial labels",
    ExportKind.WEIGHTS: "meta-weight maps",
    ExportKind.TRUST: "trust in the prediction, and proposed labels",
    ExportKind.PROBABILITIES: "probabilities of each class",
    ExportKind.VOLUMES: "table of volumes (CSV)",
}
_FORMATS = {
    OutFormat.AUTO: "same as the images",
    OutFormat.NIFTI: "NIfTI",
    OutFormat.NRRD: "NRRD",
    OutFormat.MHA: "MetaImage (MHA)",
    OutFormat.OME_ZARR: "OME-Zarr",
    OutFormat.DICOM_SEG: "DICOM segmentation",
    OutFormat.DICOM_LABELMAP: "DICOM label map",
    OutFormat.RTSTRUCT: "DICOM contours (RTSTRUCT)",
    OutFormat.SEG_NRRD: "3D Slicer (.seg.nrrd)",
    OutFormat.ITK_SNAP: "ITK-SNAP (NIfTI)",
    OutFormat.NNUNET: "nnU-Net data set",
    OutFormat.BIDS: "BIDS derivatives",
}

_MODELS = {
    ModelFormat.BUNDLE: "MONAI bundle",
    ModelFormat.TORCH_EXPORT: "torch.export",
    ModelFormat.ONNX: "ONNX",
}


class ExportPanel(QWidget):
    """Asks what to export, and where to.

    Signals
    -------
    export_requested(Export)
        A request to export these files.
    model_requested(ModelExport)
        A request to export the trained model.
    """

    export_requested = Signal(object)
    model_requested = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._case_id: str | None = None
        self.kind = narrow(QComboBox())
        self.kind.setToolTip("What to export; each file lies exactly on its image")
        for kind, text in _KINDS.items():
            self.kind.addItem(text, kind)
        self.kind.currentIndexChanged.connect(self._show_formats)
        self.form = narrow(QComboBox())
        self.form.setToolTip("File format; only formats that can hold these images are listed")
        self.folder = Hinted("folder for the files")
        self.folder.setToolTip("Folder to write the files to")
        self.folder.textChanged.connect(self._show_buttons)
        self.case = button("Export this case", "Write files of the case on view", self._ask_case)
        self.study = button("Export all cases", "Write files of every case", self._ask_study)
        self.model_form = narrow(QComboBox())
        self.model_form.setToolTip("Format of the exported model: what it runs with")
        for model, text in _MODELS.items():
            self.model_form.addItem(text, model)
        self.model = button(
            "Export model",
            "Write the trained model, with everything it needs to run without this program, to a"
            " new folder inside the one above",
            self._ask_model,
        )
        self._cases: tuple[Case, ...] = ()
        self._lay_out()
        self._show_formats()
        self._show_buttons()

    def set_available(self, cases: tuple[Case, ...], case_id: str | None) -> None:
        """Set the cases that can be exported, and the case on view."""
        self._cases, self._case_id = cases, case_id
        self._show_formats()
        self._show_buttons()

    def _ask_case(self) -> None:
        self._ask(self._case_id)

    def _ask_study(self) -> None:
        self._ask(None)

    def _ask(self, case_id: str | None) -> None:
        kind, form = ExportKind(self.kind.currentData()), OutFormat(self.form.currentData())
        self.export_requested.emit(Export(kind, Path(self.folder.text().strip()), case_id, form))

    def _ask_model(self) -> None:
        form, folder = ModelFormat(self.model_form.currentData()), self.folder.text().strip()
        self.model_requested.emit(ModelExport(form, Path(folder)))

    def _show_formats(self) -> None:
        """Offer the formats that suit all cases, and keep the chosen one if it is among them."""
        chosen = self.form.currentData()
        self.form.clear()
        for form in formats_for(self._cases, ExportKind(self.kind.currentData())):
            self.form.addItem(_FORMATS[form], form)
        self.form.setCurrentIndex(max(0, self.form.findData(chosen)))

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Export to", self.folder.text())
        if folder:
            self.folder.setText(folder)

    def _show_buttons(self) -> None:
        ready = bool(self._cases) and bool(self.folder.text().strip())
        self.study.setEnabled(ready)
        self.model.setEnabled(ready)
        self.case.setEnabled(ready and self._case_id is not None)

    def _lay_out(self) -> None:
        browse = QPushButton("Browse…")
        browse.setToolTip("Browse for the folder")
        browse.clicked.connect(self._browse)
        place = QHBoxLayout()
        place.addWidget(self.folder, 1)
        place.addWidget(browse)
        form = QFormLayout()
        form.setVerticalSpacing(4)
        form.addRow("Write", self.kind)
        form.addRow("As", self.form)
        form.addRow("To", place)
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.case)
        row.addWidget(self.study)
        layout = QVBoxLayout(self)
        layout.setSpacing(6)
        layout.addLayout(form)
        layout.addLayout(row)
        models = QHBoxLayout()
        models.setSpacing(4)
        models.addWidget(QLabel("Model as"))
        models.addWidget(self.model_form, 1)
        models.addWidget(self.model, 1)
        layout.addLayout(models)
        layout.addWidget(
            quiet(
                "Files keep the geometry of the imported images; the .provenance.json beside each"
                " records where it comes from. napari's File menu can save a single layer, too."
            )
        )
        layout.addStretch()
