"""A user's folder with a file of options, as the flow and what follows it take it."""

import json

import numpy as np

from tests.networks import random_config
from tests.sim.verilator.test_engines import CONFIGS
from tests.user import write_user

__all__ = ["CONFIG", "options", "folder_with_options"]

CONFIG = random_config(np.random.default_rng(1), **CONFIGS["portable"])     # built for another test, too
OPTIONS = dict(weights="net.pth", images="photos", size=8, mean=0.5, std=0.25, recipe="fixed8")


def options(module, **more):
    """The text of a file of options; ``more`` are added to those that every one has."""
    return "".join(f"{name}: {value}\n" for name, value in {"model": f"{module}:Net", **OPTIONS, **more}.items())


def folder_with_options(folder, module, **more):
    """What a user brings, an engine that is small, and ``flow.yaml``."""
    write_user(folder, module)
    (folder / "small.json").write_text(json.dumps(CONFIG.to_dict()))
    (folder / "flow.yaml").write_text(options(module, platform="zcu102", config="small.json", **more))
    return folder
