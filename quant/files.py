"""Parameters of float models and of quantized networks as files."""

import numpy as np
import torch

from spec.errors import AlloyError
from spec.files import read_arrays, save_arrays

from .net import QuantNet

__all__ = ["save", "load", "load_float", "read_arrays"]


def load_float(model, path):
    """Put the float parameters of ``path`` (.npz) into ``model``; returns it."""
    arrays = read_arrays(path)
    try:
        model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
    except (RuntimeError, TypeError) as error:
        raise AlloyError(f"{path} does not hold the weights of this model: {str(error).splitlines()[-1].strip()}") from None
    return model


def save(net, path):
    """All parameters, schemes, code books, tables and zero points of a :class:`QuantNet` as one .npz, whatever the name
    of the file is."""
    arrays = {k: v.detach().numpy() for k, v in net.state_dict().items()}
    for kind, values in (("scheme", net.schemes), ("codebook", net.codebooks), ("table", net.tables)):
        arrays |= {f"{kind}.{k}": v for k, v in values.items()}
    arrays |= {f"zero.{k}": np.int64(v) for k, v in net.zeros.items()}
    save_arrays(path, arrays)


def load(graph, path, **options):
    """A :class:`QuantNet` over ``graph`` with the parameters of ``path``."""
    arrays = read_arrays(path)
    schemes, codebooks, tables, zeros = ({k[len(kind):]: arrays.pop(k) for k in list(arrays) if k.startswith(kind)}
                                         for kind in ("scheme.", "codebook.", "table.", "zero."))
    try:
        net = QuantNet(graph, schemes=schemes, codebooks=codebooks, **options)
        if set(tables) != set(net.tables):
            raise KeyError(f"tables of {', '.join(sorted(set(tables) ^ set(net.tables)))}")
        if not zeros.keys() <= net.zeros.keys():
            raise KeyError(f"zero points of {', '.join(sorted(zeros.keys() - net.zeros.keys()))}")
        net.tables = tables
        net.zeros |= {name: int(zero) for name, zero in zeros.items()}
        net.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
    except (KeyError, RuntimeError, IndexError) as error:
        raise AlloyError(f"{path} does not fit the model ({str(error).splitlines()[0]}): train it again") from None
    return net
