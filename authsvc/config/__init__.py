"""
Configuration: read once from options, environment, `.env` and a TOML file; judged whole; frozen afterwards.

Sections judge themselves and all complaints are reported together. Secrets may come from a file or a command
(`*_FILE`, `*_COMMAND`) and are masked when printed. Building things out of the settings is `app`'s business.
"""

from authsvc.config.apps import AppsFileProblem, ConfiguredApp, load_apps
from authsvc.config.sections import Environment, is_loopback
from authsvc.config.settings import ConfigProblem, Settings, load_settings

__all__ = [
    "AppsFileProblem",
    "ConfigProblem",
    "ConfiguredApp",
    "Environment",
    "Settings",
    "is_loopback",
    "load_apps",
    "load_settings",
]
