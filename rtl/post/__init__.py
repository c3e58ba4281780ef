"""What makes codes of sums: post unit and max-pool unit."""

from .pool import Pool
from .post import Post

__all__ = ["Pool", "Post"]
