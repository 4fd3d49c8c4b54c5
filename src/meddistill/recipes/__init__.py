"""Recipes shipped with the package, as YAML."""
