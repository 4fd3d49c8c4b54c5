"""Sources, cases, splits, transforms, the phantom and the inspector.

Everything named here is imported when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meddistill._lazy import lazy_names

if TYPE_CHECKING:
    from meddistill.data.cache import CaseCache
    from meddistill.data.case import IGNORE_INDEX, SPLITS, Case, Source, Split, is_labelled
    from meddistill.data.dataset import CaseDataset, make_loader
    from meddistill.data.inspect import Inspection, inspect_source
    from meddistill.data.phantom import PhantomSource, phantom_case, write_phantom
    from meddistill.data.sources.class_folder import ClassFolderSource
    from meddistill.data.sources.decathlon import DecathlonSource
    from meddistill.data.sources.dicom import DicomSource
    from meddistill.data.sources.folder import FolderSource
    from meddistill.data.sources.images import ImageSource
    from meddistill.data.sources.manifest import ManifestSource
    from meddistill.data.sources.medmnist import MedMnistSource
    from meddistill.data.sources.nnunet import NnUNetSource
    from meddistill.data.sources.palette import PaletteSource
    from meddistill.data.sources.slices import SliceSource
    from meddistill.data.sources.table import TableSource
    from meddistill.data.sources.volume_folder import VolumeFolderSource
    from meddistill.data.splits import check_no_leak, split_cases
    from meddistill.data.subsets import describe_subsets, overlapping_subsets
    from meddistill.data.task import task_of
    from meddistill.data.told_apart import tell_apart
    from meddistill.data.transforms import make_transform
    from meddistill.data.validate import check_files
    from meddistill.data.volumes.geometry import Geometry
    from meddistill.data.volumes.nifti import write_volume

_HOME = {
    "IGNORE_INDEX": "case",
    "SPLITS": "case",
    "Case": "case",
    "CaseCache": "cache",
    "CaseDataset": "dataset",
    "ClassFolderSource": "sources.class_folder",
    "DecathlonSource": "sources.decathlon",
    "DicomSource": "sources.dicom",
    "FolderSource": "sources.folder",
    "Geometry": "volumes.geometry",
    "ImageSource": "sources.images",
    "Inspection": "inspect",
    "ManifestSource": "sources.manifest",
    "MedMnistSource": "sources.medmnist",
    "NnUNetSource": "sources.nnunet",
    "PaletteSource": "sources.palette",
    "PhantomSource": "phantom",
    "SliceSource": "sources.slices",
    "Source": "case",
    "Split": "case",
    "TableSource": "sources.table",
    "VolumeFolderSource": "sources.volume_folder",
    "check_files": "validate",
    "check_no_leak": "splits",
    "describe_subsets": "subsets",
    "make_loader": "dataset",
    "inspect_source": "inspect",
    "is_labelled": "case",
    "make_transform": "transforms",
    "overlapping_subsets": "subsets",
    "phantom_case": "phantom",
    "split_cases": "splits",
    "task_of": "task",
    "tell_apart": "told_apart",
    "write_phantom": "phantom",
    "write_volume": "volumes.nifti",
}

__all__ = [
    "IGNORE_INDEX",
    "SPLITS",
    "Case",
    "CaseCache",
    "CaseDataset",
    "ClassFolderSource",
    "DecathlonSource",
    "DicomSource",
    "FolderSource",
    "Geometry",
    "ImageSource",
    "Inspection",
    "ManifestSource",
    "MedMnistSource",
    "NnUNetSource",
    "PaletteSource",
    "PhantomSource",
    "SliceSource",
    "Source",
    "Split",
    "TableSource",
    "VolumeFolderSource",
    "check_files",
    "check_no_leak",
    "describe_subsets",
    "inspect_source",
    "is_labelled",
    "make_loader",
    "make_transform",
    "overlapping_subsets",
    "phantom_case",
    "split_cases",
    "task_of",
    "tell_apart",
    "write_phantom",
    "write_volume",
]

__getattr__ = lazy_names(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
