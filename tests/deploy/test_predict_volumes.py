import json

import nibabel
import numpy as np
import pytest
import torch

from meddistill.deploy.predict import predict
from meddistill.errors import ConfigError, DataError, RunError
from meddistill.models.spec import ModelSpec, save_weights
from meddistill.training.run_folder import RunFolder

AFFINE = np.array([[-0.8, 0.1, 0, 40], [0.1, 0.8, 0, -20], [0, 0, 2.5, 7], [0, 0, 0, 1]])
SLICES = {"by": "slices", "axis": 0, "normalise": "minmax", "window": None}
PATCHES = {"by": "patches", "axis": 0, "normalise": "window", "window": [0, 900]}


class ByBrightness(torch.nn.Module):
    """Class 1 where the image is brighter than a half; remembers what it was shown."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def forward(self, image):
        self.shapes.append(tuple(image.shape))
        return torch.cat([0.5 - image, image - 0.5], dim=1)


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """A run on volumes whose student finds what is bright."""

    def make(volumes, size, *, known=True):
        dims = 2 if volumes and volumes["by"] == "slices" else 3
        options = {"channels": [4, 8], "num_res_units": 0}
        spec = ModelSpec("monai/unet", dims=dims, options=options, size=size)
        run = RunFolder(tmp_path / "run")
        run.root.mkdir(exist_ok=True)
        torch.manual_seed(0)
        save_weights(spec.build(), spec, run.weights)
        described = spec.to_json() | {"interpolation": "bilinear", "volumes": volumes}
        run.model.write_text(json.dumps(described))
        network = ByBrightness()
        if known:
            monkeypatch.setattr("meddistill.deploy.student.load_model", lambda path: (spec, network))
        return run.root, network

    return make


def block(shape, *ends):
    values = np.zeros(shape, np.int16)
    values[tuple(slice(*end) for end in ends)] = 900
    return values


@pytest.fixture
def volumes(tmp_path):
    """Three volumes of three sizes, in the order X, Y, Z of the files."""
    folder = tmp_path / "volumes"
    values = {
        "a.nii.gz": block((20, 16, 5), (4, 12), (4, 12), (1, 4)),
        "site/b.nii": block((12, 24, 7), (2, 8), (8, 20), (0, 7)),
        "site/deep/c.nii.gz": block((9, 9, 3), (0, 9), (0, 5), (0, 2)),
    }
    for name, voxels in values.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), folder / name)
    nibabel.save(nibabel.Nifti1Image(values["a.nii.gz"], AFFINE), folder / "a_mask.nii.gz")
    return folder, values


@pytest.mark.parametrize(
    ("how", "size", "exact"),
    [(SLICES, (16, 16), False), (PATCHES, (4, 8, 8), True), ({**PATCHES, "by": "whole"}, (8, 16, 16), False)],
)
def test_every_volume_gets_a_label_map_on_its_own_grid(make_run, volumes, tmp_path, how, size, exact):
    folder, values = volumes
    run, network = make_run(how, size)
    written = predict(run, folder, tmp_path / "out")
    names = ["a_mask.nii.gz", "site/b_mask.nii.gz", "site/deep/c_mask.nii.gz"]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == names
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == sorted(written)
    for path, (name, voxels) in zip(written, values.items(), strict=True):
        found, source = nibabel.load(path), nibabel.load(folder / name)
        assert found.shape == voxels.shape
        np.testing.assert_array_equal(found.affine, source.affine)
        assert found.get_data_dtype() == np.uint8
        labels = np.asarray(found.dataobj)
        truth = voxels > 0
        assert set(np.unique(labels)) == {0, 1}
        overlap = 2 * (truth & (labels == 1)).sum() / (truth.sum() + (labels == 1).sum())
        assert overlap == 1 if exact else overlap > 0.85, name
    assert {shape[2:] for shape in network.shapes} == {size}


def test_the_uncertainty_of_a_volume_is_that_of_its_structure(make_run, volumes, tmp_path):
    folder, values = volumes
    run, _ = make_run(PATCHES, (4, 8, 8))
    predict(run, folder, tmp_path / "plain")
    predict(run, folder, tmp_path / "out", uncertainty=True)
    lines = (tmp_path / "out" / "uncertainty.csv").read_text().splitlines()
    assert lines[0] == "image,mask,uncertainty"
    # Its logits are -+ 0.5 everywhere, so every voxel is as uncertain as the next.
    p = 1 / (1 + np.exp(-1))
    expected = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    for line, name in zip(lines[1:], values, strict=True):
        image, mask, uncertainty = line.split(",")
        assert image == name
        assert float(uncertainty) == pytest.approx(expected, abs=1e-5)
        voxels = [nibabel.load(tmp_path / place / mask).get_fdata() for place in ("plain", "out")]
        np.testing.assert_array_equal(*voxels)


def test_slices_are_cut_along_the_axis_of_training(make_run, volumes, tmp_path):
    folder, _ = volumes
    run, network = make_run({**SLICES, "axis": 2}, (8, 24))
    predict(run, folder, tmp_path / "out", batch_size=6)
    assert sum(shape[0] for shape in network.shapes) == 20 + 12 + 9
    assert max(shape[0] for shape in network.shapes) == 6


def test_the_real_student_agrees_with_running_it_by_hand(make_run, volumes, tmp_path):
    from monai.inferers import sliding_window_inference

    from meddistill.models.spec import load_model

    folder, values = volumes
    run, _ = make_run(PATCHES, (4, 8, 8), known=False)
    written = predict(run, folder, tmp_path / "out")
    _, network = load_model(RunFolder(run).weights)
    for path, voxels in zip(written, values.values(), strict=True):
        image = torch.from_numpy(np.ascontiguousarray(voxels.T)).float()[None, None] / 900
        with torch.inference_mode():
            logits = sliding_window_inference(image, (4, 8, 8), 1, network, overlap=0.5, mode="gaussian")
        expected = logits[0].argmax(0).numpy()
        found = np.asarray(nibabel.load(path).dataobj).T
        sure = (logits[0, 0] - logits[0, 1]).abs().numpy() > 1e-4
        np.testing.assert_array_equal(found[sure], expected[sure])


def test_a_dicom_series_becomes_one_nifti(make_run, tmp_path):
    folder = tmp_path / "exam"
    voxels = block((5, 16, 20), (1, 4), (4, 12), (4, 12))  # slices, rows, columns
    write_series(folder / "patient" / "series", voxels)
    run, _ = make_run(PATCHES, (4, 8, 8))
    [written] = predict(run, folder, tmp_path / "out")
    assert written == tmp_path / "out" / "patient" / "series_mask.nii.gz"
    found = nibabel.load(written)
    np.testing.assert_array_equal(np.asarray(found.dataobj).T, voxels > 0)
    np.testing.assert_allclose(found.header.get_zooms(), (0.7, 0.9, 3.0), rtol=1e-6)
    # Left, posterior, superior of DICOM are right, anterior, superior with the first two signs turned.
    np.testing.assert_allclose(found.affine @ (0, 0, 2, 1), (10, 20, 36, 1))


def write_series(folder, voxels):
    """Slices 3 mm apart, in files whose names say nothing of their order."""
    import pydicom
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True)
    series = generate_uid()
    for number, plane in enumerate(voxels):
        one = pydicom.Dataset()
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, generate_uid()
        one.SeriesInstanceUID, one.Modality = series, "CT"
        one.Rows, one.Columns = plane.shape
        one.PixelSpacing, one.SliceThickness = [0.9, 0.7], 3.0
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.ImagePositionPatient = [-10, -20, 30 + 3 * number]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
        one.RescaleSlope, one.RescaleIntercept = 1, 0
        one.PixelData = plane.astype("<i2").tobytes()
        one.file_meta = pydicom.dataset.FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.save_as(folder / f"{(number * 7) % 11}.dcm", enforce_file_format=True)


def test_volumes_that_cannot_be_used_are_one_line_and_the_others_are_done(make_run, volumes, tmp_path):
    folder, values = volumes
    whole = (folder / "a.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    frames = np.zeros((4, 4, 4, 3), np.int16)
    nibabel.save(nibabel.Nifti1Image(frames, AFFINE), folder / "frames.nii.gz")
    holes = np.full((4, 4, 4), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(holes, AFFINE), folder / "holes.nii.gz")
    run, _ = make_run(PATCHES, (4, 8, 8))
    with pytest.raises(DataError) as caught:
        predict(run, folder, tmp_path / "out")
    message = str(caught.value)
    assert "\n" not in message
    assert "cut.nii.gz" in message
    assert "3 of 6 volumes have no mask" in message
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == len(values)


def test_nothing_is_overwritten_or_put_among_the_volumes(make_run, volumes, tmp_path):
    folder, _ = volumes
    run, _ = make_run(PATCHES, (4, 8, 8))
    before = (folder / "a_mask.nii.gz").read_bytes()
    with pytest.raises(ConfigError, match="would lie among the images"):
        predict(run, folder, folder, overwrite=True)
    assert (folder / "a_mask.nii.gz").read_bytes() == before
    first = predict(run, folder, tmp_path / "out")
    with pytest.raises(RunError, match="is there already"):
        predict(run, folder, tmp_path / "out")
    assert predict(run, folder, tmp_path / "out", overwrite=True) == first


def test_folders_without_volumes_are_refused(make_run, tmp_path):
    run, _ = make_run(PATCHES, (4, 8, 8))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no NIfTI files"):
        predict(run, tmp_path / "empty", tmp_path / "out")
    voxels = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), AFFINE)
    nibabel.save(voxels, tmp_path / "empty" / "a_mask.nii.gz")
    with pytest.raises(DataError, match="holds only masks"):
        predict(run, tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "said",
    [
        {"by": "slabs"},
        {},
        [],
        {**PATCHES, "normalise": "zscore"},
        {**PATCHES, "window": None},
        {**SLICES, "axis": 5},
    ],
)
def test_runs_that_say_nonsense_of_volumes_are_refused(make_run, volumes, tmp_path, said):
    run, _ = make_run(PATCHES, (4, 8, 8))
    described = json.loads(RunFolder(run).model.read_text())
    RunFolder(run).model.write_text(json.dumps({**described, "volumes": said}))
    with pytest.raises(RunError, match="does not say how volumes were read"):
        predict(run, volumes[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()
