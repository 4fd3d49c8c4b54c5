"""Small volumes on disk: NIfTI files, DICOM series and the folders that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from meddistill.data.volumes import Geometry
from tests.data.builders import write_json

AFFINE = np.array([[-0.8, 0, 0, 30], [0, 0.8, 0, -20], [0, 0, 3, 7], [0, 0, 0, 1.0]])
SHAPE = (5, 7, 6)
CLASSES = {"background": [0, 1], "organ": 2}


def grid(shape: Sequence[int] = SHAPE, affine: np.ndarray = AFFINE) -> Geometry:
    return Geometry.from_affine(affine, tuple(shape))


def write_nifti(path: Path, values: np.ndarray, affine: np.ndarray | None = AFFINE) -> Path:
    """A file of the array (Z, Y, X), or (C, Z, Y, X) as a file of four axes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values.T, affine), path)
    return path


def image_values(seed: int = 0, shape: Sequence[int] = SHAPE) -> np.ndarray:
    """Grey values as float32, far from 0..1."""
    return np.random.default_rng(seed).normal(300, 90, tuple(shape)).astype(np.float32)


def label_values(shape: Sequence[int] = SHAPE) -> np.ndarray:
    """A bar of 1 and one of 2; the first and the last slice are empty."""
    label = np.zeros(tuple(shape), dtype=np.uint8)
    label[1:-1, 1, 1:4] = 1
    label[1:-1, 2, 1:4] = 2
    return label


def volume_tree(root: Path, *, patients: int = 3, frames: int = 2, shape: Sequence[int] = SHAPE) -> Path:
    """`images`, `labels` and `scribbles` (4 where nothing is said) of `patient1_frame1.nii.gz`, ..."""
    for patient in range(1, patients + 1):
        for frame in range(1, frames + 1):
            name = f"patient{patient}_frame{frame}.nii.gz"
            scribble = np.full(tuple(shape), 4, dtype=np.uint8)
            scribble[2, 2, 1:3] = 2
            write_nifti(root / "images" / name, image_values(10 * patient + frame, shape))
            write_nifti(root / "labels" / name, label_values(shape))
            write_nifti(root / "scribbles" / name, scribble)
    return root


def nnunet_tree(root: Path, *, cases: int = 2, channels: int = 2) -> Path:
    """A raw folder of nnU-Net, version 2, with one image in `imagesTs`."""
    for case in range(cases):
        for channel in range(channels):
            values = image_values(10 * case + channel) * (channel + 1)
            write_nifti(root / f"imagesTr/case{case}_{channel:04}.nii.gz", values)
            write_nifti(root / f"imagesTs/other_{channel:04}.nii.gz", values)
        write_nifti(root / f"labelsTr/case{case}.nii.gz", label_values())
    names = {str(channel): f"channel {channel}" for channel in range(channels)}
    labels = {"background": 0, "one": 1, "two": 2, "ignore": 3}
    return write_json(
        root / "dataset.json",
        {"channel_names": names, "labels": labels, "numTraining": cases, "file_ending": ".nii.gz"},
    ).parent


def decathlon_tree(root: Path, *, cases: int = 2, modalities: int = 1) -> Path:
    """A folder of the Decathlon with one image under `test`."""
    pairs = []
    for case in range(cases):
        values = np.stack([image_values(10 * case + channel) for channel in range(modalities)])
        name = f"organ_{case:03}.nii.gz"
        write_nifti(root / "imagesTr" / name, values if modalities > 1 else values[0])
        write_nifti(root / "labelsTr" / name, label_values())
        pairs.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    test = write_nifti(root / "imagesTs/organ_900.nii.gz", values if modalities > 1 else values[0])
    content = {
        "modality": {str(channel): "MRI" for channel in range(modalities)},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "training": pairs,
        "test": [f"./imagesTs/{test.name}"],
    }
    return write_json(root / "dataset.json", content).parent


def write_series(
    folder: Path,
    stored: np.ndarray,
    affine: np.ndarray = AFFINE,
    *,
    slope: float = 1.0,
    intercept: float = 0.0,
    order: Iterable[int] | None = None,
    series: str = "",
    prefix: str = "slice",
) -> Path:
    """A series of one file per slice of `stored` (Z, Y, X), 16 bits, on the grid of `affine` (RAS).

    Args:
        order: slice number of each file, in the order of their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    lengths = np.linalg.norm(lps[:3, :3], axis=0)
    series = series or generate_uid()
    for place, number in enumerate(range(len(stored)) if order is None else order):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        file.SeriesInstanceUID, file.Modality, file.InstanceNumber = series, "CT", place + 1
        file.Rows, file.Columns = stored.shape[1:]
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 1
        file.ImageOrientationPatient = [*(lps[:3, 0] / lengths[0]), *(lps[:3, 1] / lengths[1])]
        file.ImagePositionPatient = list((lps @ [0, 0, number, 1])[:3])
        file.PixelSpacing = [lengths[1], lengths[0]]
        file.SliceThickness = lengths[2]
        file.RescaleSlope, file.RescaleIntercept = slope, intercept
        file.PixelData = stored[number].astype("<i2").tobytes()
        file.save_as(folder / f"{prefix}{place:03}.dcm", enforce_file_format=True)
    return folder


def edit_slice(path: Path, **changes: object) -> None:
    """Change some elements of one DICOM file; None removes one."""
    file = pydicom.dcmread(path)
    for keyword, value in changes.items():
        if value is None:
            delattr(file, keyword)
        else:
            setattr(file, keyword, value)
    file.save_as(path, enforce_file_format=True)


def cut(path: Path, share: float = 0.5) -> Path:
    """Keep the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
