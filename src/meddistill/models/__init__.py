"""`create_model` over segmentation-models-pytorch, MONAI and the networks of the papers."""

from meddistill.models.adapter import SegmentationNetwork
from meddistill.models.averaged import AveragedStudent
from meddistill.models.checkpoints import load_state, read_checkpoint
from meddistill.models.compound import Compound, branch_of, branches_of
from meddistill.models.confkd_unet import ConfKDUNet
from meddistill.models.dual_decoder import DualDecoder, DualLogits, dual_decoder
from meddistill.models.factory import count_parameters, create_model, same_architecture
from meddistill.models.features import FeatureTap
from meddistill.models.freezing import count_trained, freeze, hold_frozen
from meddistill.models.macs import count_macs
from meddistill.models.names import list_models
from meddistill.models.pcd_unet import PCDUNet
from meddistill.models.sdunet import PlainUNet, SDUNet
from meddistill.models.spec import ModelSpec, load_model, load_weights, save_weights
from meddistill.models.twin import Twin

__all__ = [
    "AveragedStudent",
    "Compound",
    "ConfKDUNet",
    "DualDecoder",
    "DualLogits",
    "FeatureTap",
    "ModelSpec",
    "PCDUNet",
    "PlainUNet",
    "SDUNet",
    "SegmentationNetwork",
    "Twin",
    "branch_of",
    "branches_of",
    "count_macs",
    "count_parameters",
    "count_trained",
    "create_model",
    "dual_decoder",
    "freeze",
    "hold_frozen",
    "list_models",
    "load_model",
    "load_state",
    "load_weights",
    "read_checkpoint",
    "same_architecture",
    "save_weights",
]
