"""Backward rules other than the gradient's: GIM and RelP. Values of the forward pass are left as they are.

| where | `gim` (Edin et al. 2025, arXiv 2505.17630) | `relp` (Jafari et al. 2025, arXiv 2508.21258) |
|---|---|---|
| norms | 1/std or 1/rms is a constant | the same (LN-rule; Ali et al. 2022) |
| softmax of attention | `pT (g - sum pT g)`, `pT` the softmax at twice the temperature | no gradient (AH-rule) |
| queries and keys, values | a quarter, a half of the gradient | none, the whole |
| gated MLP, gate times input | half of the gradient to each | the same (Half-rule) |
| activation function f | its gradient | f(x)/x is a constant (Identity-rule) |
| cap of the logits | its gradient | as an activation function |
| linear maps, sums | their gradient | the same (0-rule) |

Norms are those of queries and keys, and those behind attention and MLPs, too. Where heads share keys and values, the
gradients of the heads are summed, as always. A window or a direction of attention is in the mask, which no rule
touches; a cap of attention logits has its gradient.

By the AH-rule no relevance goes through queries and keys, so that their edges score 0 and are in no circuit.

Attention is computed by a function of ours for as long as rules are in force, and all other rules are hooks, removed
afterwards. What modules a rule is derived for is checked by :mod:`mechshift_core.attribution.ruled`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mechshift_core.attribution.ruled import RuledModules
from mechshift_core.models.kernels import attention_kernel
from mechshift_core.models.load import Model
from mechshift_core.models.norms import Norm
from mechshift_core.models.precision import widened


@dataclass(frozen=True, slots=True, kw_only=True)
class BackwardRules:
    """How a backward pass differs from the gradient's; norms are frozen in any case.

    Attributes:
        name: The method.
        temperature: Of the softmax that attention is differentiated at.
        query_key: What the gradients at queries and keys are multiplied by; `value` those at values, `factor` those at
            the two factors of a gated MLP.
        proportional: Whether an activation function, and a cap of the logits, is differentiated as if it multiplied its
            input by a constant.
    """

    name: str
    temperature: float = 1.0
    query_key: float
    value: float
    factor: float = 0.5
    proportional: bool

    @contextmanager
    def applied(self, model: Model, modules: RuledModules, calls: list[None] | None = None) -> Iterator[None]:
        """Have the rules in force for a while.

        Args:
            model: The model.
            modules: Its modules that rules concern, see :func:`mechshift_core.attribution.ruled.ruled_modules`.
            calls: Grows by one each time that attention is computed.
        """
        with ExitStack() as stack:

            def hooked(module: nn.Module, hook: Any) -> None:
                stack.callback(module.register_forward_hook(hook).remove)

            for module in modules.norms:
                hooked(module, lambda norm, inputs, output: Norm.of(norm).linear(inputs[0], output))
            for module in modules.activations:
                hooked(module, self._activation(gate=module in modules.gates))
            for module in modules.gated:
                hooked(module, lambda _, inputs, output: scaled(output, self.factor))
            stack.enter_context(self._attention(model.module, [] if calls is None else calls))
            yield

    def capped(self, before: Tensor, logits: Tensor) -> Tensor:
        """Logits of a forward pass, differentiated by the rules; `before` is what the output matrix gives."""
        return proportional(before, logits) if self.proportional else logits

    def _activation(self, *, gate: bool) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            output = proportional(inputs[0], output) if self.proportional else output
            return scaled(output, self.factor) if gate else output

        return hook

    @contextmanager
    def _attention(self, module: nn.Module, calls: list[None]) -> Iterator[None]:
        from transformers.masking_utils import AttentionMaskInterface, eager_mask
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        def counted(*args: Any, **options: Any) -> tuple[Tensor, None]:
            calls.append(None)
            return self.attention(*args, **options)

        kernel = f"mechshift_{self.name}"
        AttentionMaskInterface.register(kernel, eager_mask)
        ALL_ATTENTION_FUNCTIONS[kernel] = counted
        try:
            with attention_kernel(module, kernel):
                yield
        finally:
            del ALL_ATTENTION_FUNCTIONS[kernel]

    def attention(
        self,
        _: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        softcap: float | None = None,
        **__: Any,
    ) -> tuple[Tensor, None]:
        """Attention as Transformers asks for it: what each head gives, [rows, positions, heads, head_size].

        Args:
            query: [rows, heads, positions, head_size]; `key` and `value` alike, of as many heads or a part of them.
            attention_mask: Added to the logits, [rows, 1, positions, positions]; None where all is seen.
            scaling: What logits are multiplied by; 1/sqrt(head_size) unless given.
            softcap: What a tanh caps logits at.
        """
        group = query.shape[1] // key.shape[1]
        query, key = scaled(query, self.query_key), scaled(key, self.query_key).repeat_interleave(group, dim=1)
        value = scaled(value, self.value).repeat_interleave(group, dim=1)
        logits = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        if softcap is not None:
            logits = torch.tanh(logits / softcap) * softcap
        if attention_mask is not None:
            logits = logits + attention_mask
        pattern = softened(widened(logits), self.temperature).to(value.dtype)
        return (pattern @ value).transpose(1, 2).contiguous(), None


GIM = BackwardRules(name="gim", temperature=2.0, query_key=0.25, value=0.5, proportional=False)
RELP = BackwardRules(name="relp", query_key=0.0, value=1.0, proportional=True)
RULES = {rules.name: rules for rules in (GIM, RELP)}
"""By method."""


def scaled(values: Tensor, factor: float) -> Tensor:
    """Values whose gradient is multiplied by a factor on the way back."""
    return values.detach() + factor * (values - values.detach())


def proportional(values: Tensor, output: Tensor) -> Tensor:
    """A function's output, differentiated as if it were `c values`, with `c = output/values` (1 at 0) a constant."""
    wide, zero = widened(values), values == 0
    ratio = torch.where(zero, 1.0, widened(output) / torch.where(zero, 1.0, wide)).detach()
    moving = (wide * ratio).to(output.dtype)
    return output.detach() + (moving - moving.detach())


def softened(logits: Tensor, temperature: float) -> Tensor:
    """Softmax over the last dimension, whose gradient is `pT (g - sum pT g)`, `pT` the softmax at a temperature."""
    if temperature == 1:
        return logits.softmax(-1)
    moving = (logits / temperature).softmax(-1)
    return logits.detach().softmax(-1) + temperature * (moving - moving.detach())
