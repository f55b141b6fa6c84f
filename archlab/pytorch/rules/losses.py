"""Rules of losses: what is computed for each element, and its mean or sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archlab.ir import TensorSpec
from archlab.pytorch.rules.common import counted

Each = tuple[tuple[str, int], ...]
_LOSSES: dict[str, Each] = {
    "mse_loss": (("add", 1), ("mul", 1)),
    "l1_loss": (("add", 1), ("cmp", 1)),
    "smooth_l1_loss": (("add", 2), ("cmp", 2), ("mul", 2), ("div", 1)),  # |d| < β ? d²/(2β) : |d| - β/2
    "huber_loss": (("add", 2), ("cmp", 2), ("mul", 3)),  # |d| < δ ? d²/2 : δ·(|d| - δ/2)
    "binary_cross_entropy": (("exp", 2), ("add", 3), ("mul", 2)),  # -(t·log p + (1 - t)·log(1 - p))
    # (1 - t)·x + max(-x, 0) + log(1 + exp(-|x|))
    "binary_cross_entropy_with_logits": (("exp", 2), ("add", 4), ("mul", 1), ("cmp", 2)),
    "kl_div": (("exp", 1), ("add", 1), ("mul", 1)),  # t·(log t - x)
    "soft_margin_loss": (("exp", 2), ("add", 1), ("mul", 1)),  # log(1 + exp(-t·x))
}


def _loss(name: str) -> Callable[..., Any]:
    each = _LOSSES[name]

    def rule(r: Any, input: Any, target: Any, *args: Any, **named: Any) -> Any:
        weights = [v for k, v in named.items() if k in ("weight", "pos_weight") and v is not None]
        weights += [v for v in args if hasattr(v, "shape")]
        spec = r.spec(input)
        by = (*each, *((("mul", len(weights)),) if weights and "mul" not in dict(each) else ()))
        by = tuple(
            (kind, n + len(weights) if kind == "mul" and weights and "mul" in dict(each) else n) for kind, n in by
        )
        made = counted(r, name, [input, target, *weights], (spec,), by)
        return _reduced(r, made, _reduction(args, named))

    return rule


def _reduction(args: Any, named: Any) -> str:
    """Return how a loss is reduced; below the Python interface that is a number."""
    given = named.get("reduction", next((a for a in args if type(a) in (int, str)), "mean"))
    return str({0: "none", 1: "mean", 2: "sum"}.get(given, given))


def _reduced(r: Any, made: Any, how: str) -> Any:
    from archlab.pytorch.rules.elements import RULES as ELEMENTS

    return made if how == "none" else ELEMENTS[how](r, made)


def _nll_loss(r: Any, input: Any, target: Any, weight: Any = None, *args: Any, **named: Any) -> Any:
    """The element that the target names, negated and weighed; a weighed mean divides by the weights' sum."""
    spec, shape = r.spec(input), r.spec(target).shape
    weighed = weight is not None
    picked = counted(
        r, "nll_loss", [input, target, weight], (TensorSpec(shape, spec.dtype),), (("mul", 1 + weighed),)
    )
    numbers = [a for a in args if type(a) is int]
    how = _reduction((numbers[0],) if numbers else [a for a in args if isinstance(a, str)], named)
    return _reduced(r, picked, how)


def _cross_entropy(
    r: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: Any = 1,
    ignore_index: Any = -100,
    smoothing: float = 0.0,
) -> Any:
    """`nll_loss` of `log_softmax`; targets that are distributions, or smoothed, weigh every class."""
    from archlab.pytorch.rules.elements import RULES as ELEMENTS

    how = _reduction((reduction,), {})
    axis = 1 if len(r.spec(input).shape) > 1 else 0
    scores = ELEMENTS["log_softmax"](r, input, axis)
    if r.spec(target).shape != r.spec(input).shape and not smoothing:
        return _nll_loss(r, scores, target, weight, reduction=how)
    products = ELEMENTS["mul"](r, scores, target) if r.spec(target).shape == r.spec(input).shape else scores
    row = ELEMENTS["sum"](r, products, axis)
    if smoothing:  # (1 - ε)·loss + ε/classes·Σ
        row = counted(r, "label_smoothing", [row], (r.spec(row),), (("mul", 2), ("add", 1)))
    return _reduced(r, row, how)


def _nll_forward(r: Any, *args: Any, **named: Any) -> Any:
    return _nll_loss(r, *args, **named), r.constant(TensorSpec(()), None)


RULES: dict[str, Callable[..., Any]] = {
    **{name: _loss(name) for name in _LOSSES},
    "nll_loss": _nll_loss,
    "nll_loss_nd": _nll_loss,
    "nll_loss2d": _nll_loss,
    "nll_loss_forward": _nll_forward,
    "nll_loss2d_forward": _nll_forward,
    "cross_entropy_loss": _cross_entropy,
}
