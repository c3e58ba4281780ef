"""Search of the engine of a board for some networks, ``python -m compiler.explore``: every legal configuration by a
bound, the best of them by the cycle model and the resource model."""
