"""Knowledge distillation for medical imaging.

The names below are the front door; each is imported when it is first used, so `import meddistill` stays
light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meddistill.config import load_recipe
    from meddistill.deploy.predict import predict
    from meddistill.models import create_model
    from meddistill.teachers import load_teacher
    from meddistill.training.evaluate import evaluate
    from meddistill.training.fit import fit

__version__ = "0.1.0"
__all__ = ["__version__", "create_model", "evaluate", "fit", "load_recipe", "load_teacher", "predict"]

_HOMES = {
    "create_model": "meddistill.models",
    "load_teacher": "meddistill.teachers",
    "load_recipe": "meddistill.config",
    "fit": "meddistill.training.fit",
    "evaluate": "meddistill.training.evaluate",
    "predict": "meddistill.deploy.predict",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'meddistill' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
