"""Training step of the GRU in plain PyTorch, on one and two threads or on a GPU: medians and deciles in ms.

    python benches/peers/gru.py [--length 128] [--hidden 100] [--cells 2] [--batch 100] [--form implicit | classic [--fused]]
        [--device cuda [--graphs]] [--json FILE]

Same network, batch, loss and optimiser (forward, mean cross entropy, backward, SGD update); thread counts take turns.
`--fused` is `torch.nn.GRU`, which has the classic form only; `--check` compares it with the cells written out here.
"""

import torch
from torch import nn
from torch.nn import functional as F

from common import options, prepare, report, time_in_turns, training_step, variant


class Network(nn.Module):
    """Cells on top of one another, each fed with the new state of the one below, and a head on the last of the top."""

    def __init__(self, inputs, hidden, cells, classes, form, dt):
        super().__init__()
        widths = [inputs] + [hidden] * (cells - 1)
        self.from_input = nn.ModuleList([nn.Linear(width, 3 * hidden) for width in widths])
        self.from_state = nn.ModuleList([nn.Linear(hidden, 3 * hidden) for _ in widths])
        self.head = nn.Linear(hidden, classes)
        self.hidden, self.implicit, self.dt = hidden, form == "implicit", dt

    def cell(self, k, projected, h):
        xr, xz, xn = projected.chunk(3, 1)
        hr, hz, hn = self.from_state[k](h).chunk(3, 1)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        n = torch.tanh(xn + r * hn)
        rate = self.dt * (1 - z)
        return (h + rate * n) / (1 + rate) if self.implicit else h + rate * (n - h)

    def forward(self, x):
        # The first cell's inputs are known beforehand: one product for the whole sequence.
        projected = self.from_input[0](x.transpose(0, 1))
        states = [x.new_zeros(len(x), self.hidden) for _ in self.from_input]
        for step in projected.unbind(0):
            for k, linear in enumerate(self.from_input):
                states[k] = self.cell(k, step if k == 0 else linear(states[k - 1]), states[k])
        return self.head(states[-1])


class Fused(nn.Module):
    def __init__(self, inputs, hidden, cells, classes):
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, cells, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.head(self.gru(x)[1][-1])


def check(args, x):
    """Outputs and gradients of the cells written out, in the classic form, are those of torch.nn.GRU."""
    fused = Fused(args.inputs, args.hidden, args.cells, args.classes).to(args.device)
    net = Network(args.inputs, args.hidden, args.cells, args.classes, "classic", 1.0).to(args.device)
    pairs = [(net.head.weight, fused.head.weight), (net.head.bias, fused.head.bias)]
    for k in range(args.cells):
        for linear, kind in ((net.from_input[k], "ih"), (net.from_state[k], "hh")):
            pairs += [(linear.weight, getattr(fused.gru, f"weight_{kind}_l{k}"))]
            pairs += [(linear.bias, getattr(fused.gru, f"bias_{kind}_l{k}"))]
    with torch.no_grad():
        for ours, theirs in pairs:
            ours.copy_(theirs)
    outputs = [module(x) for module in (net, fused)]
    torch.testing.assert_close(*outputs)
    for output in outputs:
        output.square().mean().backward()
    for ours, theirs in pairs:
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)
    print("the classic form is torch.nn.GRU")


def arguments():
    parser = options(__doc__)
    sizes = {"length": 128, "hidden": 100, "cells": 2, "batch": 100, "inputs": 9, "classes": 6, "rounds": 4, "steps": 4}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--form", choices=["implicit", "classic"], default="implicit")
    parser.add_argument("--dt", type=float, default=1.0, help="length of a step")
    parser.add_argument("--fused", action="store_true", help="torch.nn.GRU in place of the cells written out")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--check", action="store_true", help="compare the cells with torch.nn.GRU, and stop")
    args = parser.parse_args()
    prepare(parser, args)
    if args.fused and (args.form != "classic" or args.dt != 1.0):
        parser.error("--fused is the classic form with steps of length 1: add --form classic and leave out --dt")
    return args


def main():
    args = arguments()
    x = torch.randn(args.batch, args.length, args.inputs, device=args.device)
    y = (torch.arange(args.batch) % args.classes).to(args.device)
    if args.check:
        check(args, x)
        return
    if args.fused:
        net = Fused(args.inputs, args.hidden, args.cells, args.classes)
    else:
        net = Network(args.inputs, args.hidden, args.cells, args.classes, args.form, args.dt)
    net = net.to(args.device)
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)
    step = training_step(args, net, optimizer, lambda: F.cross_entropy(net(x), y))
    case = f"gru:{args.length}@{args.batch}"
    if (args.hidden, args.cells, args.dt) != (100, 2, 1.0):
        case += f", {args.cells} cells of {args.hidden}, steps of {args.dt:g}"
    words = [args.form, "fused"] if args.fused else [args.form]
    report(args, case, variant(args, *words), time_in_turns(args, step, args.rounds, args.steps, args.threads))


if __name__ == "__main__":
    main()
