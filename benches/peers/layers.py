"""The operations of the bench `layer` in plain PyTorch, on one thread or on a GPU: medians and deciles in ms.

    python benches/peers/layers.py [CASE ...] [--device cuda] [--json FILE]

Forward without recording, forward recorded, derivative by the state, derivatives by the state and the parameters; same layers,
sizes and way of timing: operations take turns, the first call of a turn is not counted, results are freed behind the clock.
"""

import math
import time

import torch
from torch import nn
from torch.nn import functional as F

from common import deciles, options, prepare, record, synchronize

CASES = ["conv:3", "conv:4", "conv:12", "conv:16", "conv3d:4", "encoder:128", "gru:implicit", "gru:explicit"]


def numbers(*shape):
    return torch.sin(torch.arange(math.prod(shape)) * 0.11).view(shape)


class Conv(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, u):
        return torch.add(u, F.relu(self.conv2(F.relu(self.conv1(u)))), alpha=1 / 4)


class Conv3d(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, u):
        return torch.add(u, F.relu(self.conv(u)), alpha=1 / 4)


class Encoder(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, x):
        h = self.ln1(x)
        p = torch.softmax(self.q(h) @ self.k(h).transpose(1, 2) / math.sqrt(h.shape[2]), -1)
        y = x + self.o(p @ self.v(h))
        return y + self.fc2(F.gelu(self.fc1(self.ln2(y))))


class Gru(nn.Module):
    """A step of all cells; what the first makes of its input is given, as it is known beforehand."""

    def __init__(self, hidden, cells, form):
        super().__init__()
        self.from_input = nn.ModuleList([nn.Linear(hidden, 3 * hidden) for _ in range(cells - 1)])
        self.from_state = nn.ModuleList([nn.Linear(hidden, 3 * hidden) for _ in range(cells)])
        self.projected = nn.Parameter(numbers(100, 3 * hidden))
        self.implicit = form == "implicit"

    def forward(self, states):
        new, projected = [], self.projected
        for k, (h, linear) in enumerate(zip(states.unbind(0), self.from_state)):
            if k > 0:
                projected = self.from_input[k - 1](new[-1])
            (xr, xz, xn), (hr, hz, hn) = projected.chunk(3, 1), linear(h).chunk(3, 1)
            r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
            n = torch.tanh(xn + r * hn)
            # Steps of length 1.
            rate = 1 - z
            new.append((h + rate * n) / (1 + rate) if self.implicit else n + z * (h - n))
        return torch.stack(new)


def layer(case, device):
    """A layer on a device, the state that it is applied to, and what it has gradients for."""
    kind, _, size = case.partition(":")
    if kind == "conv":
        net, u = Conv(int(size)), numbers(50, int(size), 28, 28)
    elif kind == "conv3d":
        net, u = Conv3d(int(size)), numbers(4, int(size), 31, 31, 31)
    elif kind == "encoder":
        net, u = Encoder(int(size)), numbers(8, 64, int(size))
    elif kind == "gru" and size in ("implicit", "explicit"):
        net, u = Gru(100, 2, size), numbers(2, 100, 100)
    else:
        raise SystemExit(f"no layer {case!r}: give one like {', '.join(CASES)}")
    net, u = net.to(device), u.to(device)
    return net, u, list(net.parameters())


def operations(case, device):
    """Functions that prepare a call each."""
    net, u, parameters = layer(case, device)
    delta, x = u.clone(), u.clone().requires_grad_()
    fixed = net(x)

    def forward():
        def call():
            with torch.no_grad():
                return net(u)

        return call

    def gradients():
        y = net(x)
        return lambda: torch.autograd.grad(y, [x, *parameters], delta)

    return {
        "forward": forward,
        "linearise": lambda: lambda: net(x),
        "pullback": lambda: lambda: torch.autograd.grad(fixed, x, delta, retain_graph=True),
        "pullback with gradients": gradients,
    }


def main():
    parser = options(__doc__)
    parser.add_argument("cases", nargs="*", default=CASES, metavar="CASE")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=5, help="calls per round that are timed")
    args = parser.parse_args()
    prepare(parser, args)
    if args.graphs:
        parser.error("--graphs is for whole training steps: single calls are timed here")
    torch.set_num_threads(1)
    for case in args.cases:
        calls = operations(case, args.device)
        times = {name: [] for name in calls}
        for _ in range(args.rounds):
            for name, taken in times.items():
                for number in range(args.calls + 1):
                    call = calls[name]()
                    synchronize(args.device)
                    start = time.perf_counter()
                    made = call()
                    synchronize(args.device)
                    seconds = time.perf_counter() - start
                    if number > 0:
                        taken.append(seconds)
                    del made
        for name, taken in times.items():
            low, median, high = (1e3 * seconds for seconds in deciles(taken))
            print(f"{case:<14} {name:<24} {median:9.4f} ({low:.4f}-{high:.4f})", flush=True)
            record(args, "layer", case, name, 1, taken)


if __name__ == "__main__":
    main()
