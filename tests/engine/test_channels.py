"""Several channels of a case: all are seen by the network, and by the models that leave."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from exported import require_equal_labels, run_blocked
from monai.transforms import LoadImaged
from nifti_files import load_nifti
from small_study import QUICK, Phantoms, ellipsoid
from torch import Generator

from napari_mlbseg.engine.data.grid import Grid, SampleShape, VolumeGrid
from napari_mlbseg.engine.data.patches import PatchSource
from napari_mlbseg.engine.data.slices import SliceSource
from napari_mlbseg.engine.data.source import Span
from napari_mlbseg.engine.deploy.export import export_model
from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.engine.events import Finished, Inbox
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.training.design import NetworkDesign
from napari_mlbseg.engine.training.earlier_model import EarlierModel
from napari_mlbseg.engine.training.sampler import Sampler
from napari_mlbseg.engine.training.trained_network import read_trained_network
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.export import ExportKind, export_study
from napari_mlbseg.project.importing.case_files import Pairing
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.standalone.bundle_parts import OnGridd, images_in
from napari_mlbseg.standalone.image import Preparation
from napari_mlbseg.standalone.predict import predict
from napari_mlbseg.standalone.slices import Slices

CPU = torch.device("cpu")
SHAPE = (12, 40, 36)
KEY = SliceKey("p0", 0, 5)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """T1 is noise; only FLAIR shows the organ. The last case has no FLAIR."""
    folder = tmp_path_factory.mktemp("files")
    affine = np.diag([-1.0, -1.0, 3.0, 1.0])
    rng = np.random.default_rng(2)
    for number in range(3):
        flair, _ = ellipsoid(number, SHAPE)
        noise = rng.normal(0, 40, SHAPE).astype(np.float32)
        for channel, voxels in enumerate((noise, flair)[: 1 if number == 2 else 2]):
            path = folder / f"p{number}_{channel:04}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(voxels.transpose(), affine), path)
    (folder / "dataset.json").write_text('{"channel_names": {"0": "T1", "1": "FLAIR"}}')
    return folder


@pytest.fixture(scope="module")
def phantoms(files: Path) -> Iterator[Phantoms]:
    with Study.create(files / "organ.mlbseg") as study:
        import_folder(study, files, pairing=Pairing(fill_missing=True))
        study.set_classes(named("organ"))
        truth = {f"p{k}": (ellipsoid(k, SHAPE)[1] > 0).astype(np.uint8) for k in range(3)}
        yield Phantoms(study, truth)


@pytest.fixture(scope="module")
def trained(phantoms: Phantoms) -> Phantoms:
    """Trained for a moment on slices of the first case alone, in two dimensions and a half."""
    phantoms.accept("p0", 1, 3, 4, 5, 6, 7, 9, 10)
    quick = replace(QUICK, base_steps=45, steps=1, dimensions="2.5d", precision="float32")
    *_, last = Bootstrapper(phantoms.study, quick).events(Inbox())
    assert isinstance(last, Finished), last
    return phantoms


def standardised(study: Study, name: ArrayName, place: int, index: int) -> np.ndarray:
    image = study.case("p0").channels[place].image
    assert image is not None
    raw = study.arrays.read("p0", name, 0, index).astype(np.float32)
    scale = image.intensity
    return (raw.clip(scale.low, scale.high) - scale.mean) / scale.std


def test_slices_come_channel_by_channel_with_their_neighbours(phantoms: Phantoms) -> None:
    study = phantoms.study
    source = SliceSource(study, Grid(48, 1.0), context=1, device=CPU)
    seen = source.image(KEY)
    assert source.channels == 6
    assert source.sample.channel_names == ("T1", "FLAIR")
    assert (source.sample.image_channels, source.sample.slices) == (6, 3)
    for place, name in enumerate((ArrayName.IMAGE, ArrayName.CHANNEL_1)):
        for offset in (-1, 0, 1):
            expected = standardised(study, name, place, KEY.index + offset)
            found = seen[3 * place + offset + 1]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    lacking = source.image(replace(KEY, case_id="p2"))
    assert bool(lacking[:3].any())
    assert not lacking[3:].any()


def test_volumes_have_all_channels(phantoms: Phantoms) -> None:
    grid = VolumeGrid((16, 48, 48), (3.0, 1.0, 1.0))
    source = PatchSource(phantoms.study, grid, device=CPU)
    assert (source.channels, source.sample.slices) == (2, 1)
    case, lacking = phantoms.study.case("p0"), phantoms.study.case("p2")
    images = source.scene(Span(case, 0, 0, 12)).images
    middle = images[0, 1, 2:14, 4:44, 6:42]
    expected = np.stack(
        [standardised(phantoms.study, ArrayName.CHANNEL_1, 1, index) for index in range(12)]
    )
    assert float(np.corrcoef(middle.flatten(), expected.flatten())[0, 1]) > 0.999
    filled = source.scene(Span(lacking, 0, 0, 12)).images
    assert bool(filled[0, 0].any())
    assert not filled[0, 1].any()


def test_channels_vary_on_their_own_and_filled_ones_stay(phantoms: Phantoms) -> None:
    source = SliceSource(phantoms.study, Grid(48, 1.0), context=0, device=CPU)

    class State:
        generator, batch = Generator().manual_seed(0), 2

    sampler = object.__new__(Sampler)
    sampler._source, sampler._state = source, State()  # type: ignore[assignment]
    keys = [KEY, replace(KEY, case_id="p2")]
    batch = source.unmoved(keys)
    batch.images[0, 1] = batch.images[0, 0]
    varied = sampler._varied(batch).images
    assert not torch.allclose(varied[0, 0], varied[0, 1], atol=0.2)
    assert bool(varied[1, 0].any())
    assert not varied[1, 1].any()


def test_a_structure_that_only_the_second_channel_shows_is_learnt(trained: Phantoms) -> None:
    prediction = np.asarray(trained.study.arrays.open("p1", ArrayName.PREDICTION)[:])
    assert trained.dice("p1", prediction) > 0.8
    design = read_trained_network(trained.study).design
    assert design.sample.channel_names == ("T1", "FLAIR")
    assert NetworkDesign.from_plain(design.to_plain()) == design


@pytest.fixture(scope="module")
def predicted(trained: Phantoms, files: Path) -> Path:
    export_study(trained.study, files / "predicted", ExportKind.PREDICTION)
    return files / "predicted"


def labels_in(path: Path) -> np.ndarray:
    return np.asarray(load_nifti(path).dataobj)


def test_exported_models_take_the_channels_in_their_order(
    trained: Phantoms, files: Path, predicted: Path
) -> None:
    folder = export_model(trained.study, ModelFormat.TORCH_EXPORT, files / "graph").folder
    out = files / "labels.nii.gz"
    t1, flair = files / "p1_0000.nii.gz", files / "p1_0001.nii.gz"
    predict([t1, flair], out, folder)
    require_equal_labels(out, predicted / "p1.nii.gz")
    predict([files / "p2_0000.nii.gz", Path("-")], out, folder)
    assert (labels_in(out) != labels_in(predicted / "p2.nii.gz")).sum() <= 2
    stacked = np.stack([labels_in(path).astype(np.float32) for path in (t1, flair)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(stacked, load_nifti(t1).affine), files / "stacked.nii")
    predict(files / "stacked.nii", out, folder)
    require_equal_labels(out, predicted / "p1.nii.gz")
    with pytest.raises(ValueError, match=r"takes 2 channels, in this order: T1, FLAIR; but got 1"):
        predict(t1, out, folder)
    about = json.loads((folder / "model.json").read_text())
    assert about["preparation"]["channel_names"] == ["T1", "FLAIR"]
    assert about["channels"][:2] == ["T1: the slice -1 along the slice axis", "T1: the slice"]
    assert about["channels"][4] == "FLAIR: the slice"
    assert "2 channels, in this order: T1, FLAIR." in (folder / "README.md").read_text()


@pytest.mark.filterwarnings("ignore:NvImgCodec")
def test_a_bundle_reads_the_files_of_all_channels(trained: Phantoms, files: Path) -> None:
    bundle = export_model(trained.study, ModelFormat.BUNDLE, files / "bundle").folder
    workflow = json.loads((bundle / "configs" / "inference.json").read_text())
    assert workflow["dataset"]["data"]["channels"] == 2
    images = files / "whole"
    for channel in ("0000", "0001"):
        images.mkdir(exist_ok=True)
        shutil.copy(files / f"p1_{channel}.nii.gz", images)
    (entry,) = images_in(str(images), channels=2)
    read = LoadImaged("image", reader="NibabelReader", image_only=True)
    prepared = OnGridd("image", workflow["preparation"])(read(entry))["image"]
    preparation = Preparation.of(workflow["preparation"])
    volumes = [np.asarray(load_nifti(Path(path)).dataobj) for path in entry["image"]]
    expected = Slices(volumes, load_nifti(images / "p1_0000.nii.gz").affine, preparation)
    np.testing.assert_allclose(prepared, expected.grids(0, SHAPE[0]), atol=1e-5)
    (images / "p1_0001.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"p1_0001.nii.gz is missing: this model takes 2"):
        images_in(str(images), channels=2)
    assert "`CASE_0001.nii.gz` the second one" in (bundle / "docs" / "README.md").read_text()


@pytest.mark.slow
def test_onnx_and_monai_by_themselves_predict_from_both_channels(
    trained: Phantoms, files: Path, predicted: Path
) -> None:
    folder = export_model(trained.study, ModelFormat.ONNX, files / "onnx").folder
    bundle = export_model(trained.study, ModelFormat.BUNDLE, files / "to_run").folder
    out, images = files / "by_onnx.nii.gz", files / "for_monai"
    images.mkdir()
    both = [shutil.copy(files / f"p1_{channel}.nii.gz", images) for channel in ("0000", "0001")]
    run_blocked(folder, "napari_mlbseg,torch,monai", "predict", *both, out)
    require_equal_labels(out, predicted / "p1.nii.gz")
    run_blocked(
        bundle,
        "napari_mlbseg,napari,onnxruntime",
        *("monai.bundle", "run", "--config_file", bundle / "configs" / "inference.json"),
        *("--bundle_root", bundle, "--dataset_dir", images, "--output_dir", files / "by_monai"),
    )
    require_equal_labels(files / "by_monai" / "p1_0000_seg.nii.gz", predicted / "p1.nii.gz")


def sample(*names: str, slices: int = 1) -> SampleShape:
    return SampleShape(slices * len(names), (32, 32), (1.0, 1.0), 0, names)


@pytest.mark.parametrize(
    ("theirs", "ours", "heard", "said"),
    [
        (("T1", "FLAIR"), ("FLAIR", "T1"), [[0, 1], [1, 0]], ""),
        (("T1", "T2"), ("t2", "ADC"), [[0, 1], [0, 0]], "It did not see 'ADC'"),
        (("image",), ("T1", "FLAIR"), [[1], [0]], "Its channel 'image' is taken for 'T1'."),
        (("a", "b"), ("c", "d"), [[1, 0], [0, 1]], "Its channel 'b' is taken for 'd'."),
        (("T1", "T2", "PD"), ("T2",), [[0, 1, 0]], "What it saw in 'T1' and 'PD' is missing"),
    ],
)
def test_channels_of_an_earlier_model_are_matched_by_name(
    theirs: tuple[str, ...], ours: tuple[str, ...], heard: list[list[int]], said: str
) -> None:
    torch.manual_seed(1)
    of, wanted = (NetworkDesign("unet", False, (0, 1), sample(*s)) for s in (theirs, ours))
    model = EarlierModel(Path("earlier.mlbseg"), of, ("", "organ"), of.build().eval())
    fresh = wanted.build().eval()
    fresh.load_state_dict(model.parameters_for(fresh, wanted, ("", "organ")))
    images = torch.randn(1, len(ours), 32, 32)
    translated = torch.einsum("bchw,ct->bthw", images, torch.tensor(heard, dtype=torch.float32))
    with torch.no_grad():
        torch.testing.assert_close(fresh(images), model.network(translated), atol=1e-4, rtol=1e-3)
    told = model.told(wanted, ("", "organ"))
    assert said in told
    assert said or "channel" not in told
