"""Knowledge distillation for medical imaging.

The names below are the front door; each is imported when it is first used, so `import meddistill` stays
light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meddistill._lazy import lazy_names

if TYPE_CHECKING:
    from meddistill.config import load_recipe
    from meddistill.deploy.predict import predict
    from meddistill.models import create_model
    from meddistill.teachers import load_teacher
    from meddistill.training.evaluate import evaluate
    from meddistill.training.fit import fit

__version__ = "0.1.0"
__all__ = ["__version__", "create_model", "evaluate", "fit", "load_recipe", "load_teacher", "predict"]

__getattr__ = lazy_names(
    __name__,
    {
        "create_model": "models",
        "load_teacher": "teachers",
        "load_recipe": "config",
        "fit": "training.fit",
        "evaluate": "training.evaluate",
        "predict": "deploy.predict",
    },
)


def __dir__() -> list[str]:
    return __all__
