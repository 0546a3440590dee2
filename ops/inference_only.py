"""Refuses gradients: the ops have no backward, and a silent zero would be worse than an error."""

from typing import Any, NoReturn

import torch


def refuse_gradients(op: str) -> None:
    """Make ``maskrcnn::op`` raise as soon as autograd would have to record it.

    Args:
        op: Name of the op without its namespace.
    """

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError(
            f"{op}: an input requires grad, but this op is for inference only; "
            "call it under torch.no_grad() or torch.inference_mode(), or detach the input"
        )

    torch.library.register_autograd(f"maskrcnn::{op}", refuse, setup_context=refuse)
