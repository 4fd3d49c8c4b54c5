"""Recipes: YAML read into typed, frozen values; unknown keys and wrong types are refused."""

from meddistill.config.labels import CleanConfig, NoiseConfig, SupervisionConfig
from meddistill.config.load import load_recipe, parse_overrides, recipe_to_yaml
from meddistill.config.schema import (
    DataConfig,
    FineTuneConfig,
    ModelConfig,
    Recipe,
    StudyConfig,
    TeacherConfig,
    TrainingConfig,
)

__all__ = [
    "CleanConfig",
    "DataConfig",
    "FineTuneConfig",
    "ModelConfig",
    "NoiseConfig",
    "Recipe",
    "StudyConfig",
    "SupervisionConfig",
    "TeacherConfig",
    "TrainingConfig",
    "load_recipe",
    "parse_overrides",
    "recipe_to_yaml",
]
