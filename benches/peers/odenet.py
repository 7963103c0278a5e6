"""Training step of `conv:LAYERSxCHANNELS` of the bench `study` in plain PyTorch, on one and two
threads or on a GPU: medians and deciles in ms.

    python benches/peers/odenet.py [LAYERSxCHANNELS ...] [--batch 50] [--device cuda [--graphs]] [--json FILE]

Same network, batch, loss and optimiser (forward, loss, backward, SGD update); thread counts take turns.
"""

import torch
from torch import nn
from torch.nn import functional as F

from common import options, prepare, report, time_in_turns, training_step, variant

CASES = ["36x3", "64x4", "128x12"]


def sizes(text):
    """Layers and channels."""
    layers, channels = (int(number) for number in text.split("x"))
    return layers, channels


class Layer(nn.Module):
    def __init__(self, channels, dt):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.dt = dt

    def forward(self, u):
        return u + self.dt * F.relu(self.conv2(F.relu(self.conv1(u))))


def network(layers, channels):
    body = [Layer(channels, 1 / layers) for _ in range(layers)]
    close = [nn.Flatten(), nn.Linear(channels * 784, 32), nn.ReLU(), nn.Linear(32, 10)]
    return nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(), *body, *close)


def main():
    parser = options(__doc__)
    parser.add_argument("networks", nargs="*", type=sizes, default=[sizes(case) for case in CASES], metavar="LAYERSxCHANNELS")
    parser.add_argument("--batch", type=int, default=50)
    args = parser.parse_args()
    prepare(parser, args)
    batch = args.batch
    x = torch.sin(torch.arange(batch * 784) * 0.37).view(batch, 1, 28, 28).to(args.device)
    y = (torch.arange(batch) % 10).to(args.device)
    for layers, channels in args.networks:
        # Fewer of the steps that take long.
        rounds, steps = (6, 5) if layers * channels < 256 else (3, 3)
        net = network(layers, channels).to(args.device)
        optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)
        step = training_step(args, net, optimizer, lambda: F.cross_entropy(net(x), y))
        report(args, f"conv:{layers}x{channels}@{batch}", variant(args), time_in_turns(args, step, rounds, steps))


if __name__ == "__main__":
    main()
