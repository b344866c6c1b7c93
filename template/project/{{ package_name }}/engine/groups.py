"""Layer groups: which parameters belong to which group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.distributed import is_initialized
from torch.nn import Parameter

from .errors import RunError

Layers = Mapping[str, Sequence[str]]  # the layers of each group, as paths into the model


def layer_groups(net: nn.Module, layers: Layers) -> dict[str, dict[str, Parameter]]:
    """The parameters of each group by name; a parameter in no group or in two is an error.

    The layer `layer1` holds `layer1.weight` and not `layer10.weight`; `rest` holds what no other layer does.
    """
    parameters = dict(net.named_parameters())
    groups: dict[str, dict[str, Parameter]] = {group: {} for group in layers}
    found: dict[str, list[str]] = {name: [] for name in parameters}  # the groups of each parameter
    for group, path in ((group, path) for group, paths in layers.items() for path in paths):
        names = [name for name in parameters if f"{name}.".startswith(f"{path}.")]
        if not names and path != "rest":
            known = ", ".join(dict.fromkeys(name.split(".")[0] for name in parameters))
            raise RunError(f"the layer {path!r} of LAYERS in optim.py holds no parameter; the model has {known}")
        for name in names:
            found[name].append(group)
    rest = [group for group, paths in layers.items() if "rest" in paths]
    for name, owners in found.items():
        owners = owners or rest
        if len(owners) != 1:
            where = " and ".join(owners) or "no layer group"
            raise RunError(f"{name} is in {where}; name it in exactly one of LAYERS in optim.py")
        groups[owners[0]][name] = parameters[name]
    return groups


def freeze_groups(net: nn.Module, layers: Layers, multipliers: Mapping[str, float]) -> None:
    """Freezes groups with multiplier 0: no gradients, batch norms in evaluation mode; thaws others that it froze."""
    if {*multipliers} != {*layers}:
        names = f"{', '.join(multipliers)}, and LAYERS in optim.py has {', '.join(layers)}"
        raise RunError(f"--groups has {names}; name the same layer groups in both")
    groups = layer_groups(net, layers)
    frozen = {parameter for name in groups if multipliers[name] == 0 for parameter in groups[name].values()}
    known = vars(net).setdefault("frozen_names", set())  # what was frozen elsewhere stays so
    for name, parameter in net.named_parameters():
        if parameter in frozen and parameter.requires_grad:
            parameter.requires_grad_(False)
            known.add(name)
        elif parameter not in frozen and name in known:
            if is_initialized():
                raise RunError(f"{name} cannot thaw: several processes have agreed on what is learned; use one process")
            parameter.requires_grad_(True)
            known.remove(name)
    for module in net.modules():
        parameters = {*module.parameters()}
        if parameters and parameters <= frozen:
            module.eval()


def table_of_groups(net: nn.Module, layers: Layers, rates: Mapping[str, float], weight_decay: float) -> str:
    """A line for each layer group: its parameters, its learning rate, its decay and its layers."""
    lines = [f"{'group':<14}{'parameters':>12}{'lr':>11}{'decay':>9}  layers"]
    for name, parameters in layer_groups(net, layers).items():
        count = sum(parameter.numel() for parameter in parameters.values())
        lr = f"{rates[name]:.3g}" if rates[name] else "frozen"
        lines.append(f"{name:<14}{count:>12,}{lr:>11}{weight_decay:>9.3g}  {' '.join(layers[name])}")
    return "\n".join(lines)
