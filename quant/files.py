"""Parameters of float models and of quantized networks as files."""

import numpy as np
import torch

from spec.errors import AlloyError

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
    """All parameters, schemes, code books, tables and zero points of a :class:`QuantNet` as one .npz."""
    arrays = {k: v.detach().numpy() for k, v in net.state_dict().items()}
    np.savez_compressed(path, **arrays, **{f"scheme.{k}": v for k, v in net.schemes.items()},
                        **{f"codebook.{k}": v for k, v in net.codebooks.items()}, **{f"table.{k}": v for k, v in net.tables.items()},
                        **{f"zero.{k}": np.int64(v) for k, v in net.zeros.items()})


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


def read_arrays(path):
    """Every array of an .npz, by name; any damage is one :class:`AlloyError`."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except FileNotFoundError:
        raise AlloyError(f"there is no file {path}") from None
    except Exception as error:      # NumPy raises whatever the damaged zip member makes it raise
        raise AlloyError(f"{path} is not a whole .npz file ({type(error).__name__}): it may be truncated, copy it again") from None
