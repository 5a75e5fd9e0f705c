"""Which modules of a model the backward rules of GIM and RelP concern, and whether they are derived for all of them.

The rules are derived for blocks of attention, gated or plain MLPs of two linear maps with one activation function, and
norms. What else a block may hold is not known here, so that it is refused by name; that an MLP or attention computes
what it is taken for is shown by numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mechshift_core.attribution.agreement import compare
from mechshift_core.errors import ExecutionError
from mechshift_core.models.load import Model
from mechshift_core.models.norms import Norm

GATE, INPUT, OUTPUT = "gate_proj", "up_proj", "down_proj"


@dataclass(slots=True)
class RuledModules:
    """The modules that hooks go to.

    Attributes:
        norms: Those that are not in the architecture's declaration as read by heads, MLPs or the head of the model.
        activations: Activation functions of MLPs; `gates` are those whose output multiplies another.
        gated: Linear maps of gated MLPs whose output is multiplied.
    """

    norms: list[nn.Module] = field(default_factory=list)
    activations: list[nn.Module] = field(default_factory=list)
    gates: list[nn.Module] = field(default_factory=list)
    gated: list[nn.Module] = field(default_factory=list)


def ruled_modules(model: Model, method: str, *, proportional: bool = False) -> RuledModules:
    """The modules of a model that rules concern.

    Args:
        model: The model.
        method: The method.
        proportional: Whether its rules take an activation function f for a factor f(x)/x, which needs f(0) = 0.

    Raises:
        ExecutionError: with the method and the module that its rules are not derived for.
    """
    view, declared = model.view, model.view.declaration
    found = RuledModules()
    for layer in range(model.shape.layers):
        mlp = view.module(declared.mlp, layer)
        _add_mlp(model, method, f"layer {layer}: {declared.mlp}", mlp, found)
        if proportional:
            _check_through_zero(model, method, f"layer {layer}: {declared.mlp}", found.activations[-1])
        known = {id(module) for module in mlp.modules()}
        known |= {id(view.module(path, layer)) for path in (declared.attention_norm, declared.mlp_norm)}
        block = view.module(f"{declared.blocks}.{layer}")
        for path, module in block.named_modules():
            if id(module) in known or next(module.children(), None) is not None:
                continue
            if type(module).__name__.endswith("Norm"):
                Norm.of(module)
                found.norms.append(module)
            elif not _is_linear(module) and not isinstance(module, nn.Dropout | nn.Identity):
                raise _not_derived(model, method, f"layer {layer}: {path} is a {type(module).__name__}")
    return found


def prove_rules(model: Model, method: str, ids: Tensor, ruled: Tensor, calls: int) -> None:
    """Prove that rules were in force where attention is computed, and changed no value.

    Args:
        model: The model.
        method: The method.
        ids: Some prompts, [rows, positions].
        ruled: Their logits under the rules, [rows, positions, vocabulary].
        calls: How often the rules' own attention was computed.

    Raises:
        ExecutionError: if they were not, or changed one.
    """
    if calls != model.shape.layers:
        raise _not_derived(model, method, f"{model.shape.layers} layers called a registered attention {calls} times")
    what = f"the rules of the method {method!r} change what it computes: they are not derived for it"
    compare(model, ruled, model.logits(ids), what)


def _add_mlp(model: Model, method: str, path: str, mlp: nn.Module, found: RuledModules) -> None:
    children = dict(mlp.named_children())
    functions = [child for child in children.values() if not _is_linear(child) and not isinstance(child, nn.Dropout)]
    linear = [name for name, child in children.items() if _is_linear(child)]
    if len(functions) != 1 or any(True for _ in functions[0].parameters()):
        held = ", ".join(f"{name} ({type(child).__name__})" for name, child in children.items()) or "no modules"
        raise _not_derived(model, method, f"{path}, a {type(mlp).__name__}, holds {held}")
    function = functions[0]
    gated = set(linear) == {GATE, INPUT, OUTPUT}
    if not gated and len(linear) != 2:
        raise _not_derived(model, method, f"{path}, a {type(mlp).__name__}, has the linear maps {', '.join(linear)}")
    weight = next(mlp.parameters())
    probe = torch.randn(2, model.shape.hidden_size, generator=torch.Generator().manual_seed(0)).to(weight)
    with torch.no_grad():
        if not torch.allclose(function(probe[:, :1]), function(probe)[:, :1], rtol=1e-2, atol=1e-2):
            what = f"{path}: the {type(function).__name__} is no function of single numbers"
            raise _not_derived(model, method, what)
        if gated:
            expected = children[OUTPUT](function(children[GATE](probe)) * children[INPUT](probe))
        else:
            first, second = (children[name] for name in linear)
            expected = second(function(first(probe)))
        what = f"{path}: a {type(mlp).__name__} is not the MLP that the rules of the method {method!r} are derived for"
        compare(model, mlp(probe), expected, what)
    found.activations.append(function)
    if gated:
        found.gates.append(function)
        found.gated.append(children[INPUT])


def _check_through_zero(model: Model, method: str, path: str, function: nn.Module) -> None:
    """f(x)/x has no bound near 0 where f(0) is not 0."""
    weight = next(model.module.parameters())
    with torch.no_grad():
        at_zero = float(function(torch.zeros(1, 1).to(weight)))
    if abs(at_zero) > 1e-6:
        what = (
            f"{path}: the {type(function).__name__} of 0 is {at_zero:.3g}, so that it is not in proportion to its input"
        )
        raise _not_derived(model, method, what)


def _is_linear(module: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return type(module) in (nn.Linear, Conv1D)


def _not_derived(model: Model, method: str, what: str) -> ExecutionError:
    return ExecutionError(
        f"{model.source}: the method {method!r} is not derived for {type(model.module).__name__}: {what}; use eap, "
        "eap-ig or another method that needs gradients alone"
    )
