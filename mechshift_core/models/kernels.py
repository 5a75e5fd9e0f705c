"""The attention kernel of a Transformers model, for a while another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def attention_kernel(module: Any, kernel: str) -> Iterator[None]:
    """Have a Transformers model compute attention by another kernel.

    Args:
        module: The model.
        kernel: As Transformers names it; `eager` defines what an architecture computes, and gives probabilities.
    """
    own = module.config._attn_implementation
    module.set_attn_implementation(kernel)
    try:
        yield
    finally:
        module.set_attn_implementation(own)
