"""Training step of the bench `voxels` in plain PyTorch, on one and two threads or on a GPU: medians and deciles
in ms.

    python benches/peers/voxels.py [SIDE] [LAYERS] [BATCH] [--device cuda [--graphs]] [--json FILE]

Same network (4 channels, one convolution per layer), loss and optimiser; thread counts take turns.
"""

import torch
from torch import nn
from torch.nn import functional as F

from common import options, prepare, report, time_in_turns, training_step, variant

CHANNELS, HIDDEN, CLASSES, ROUNDS, STEPS = 4, 32, 10, 3, 2


class Net(nn.Module):
    def __init__(self, side, layers):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv3d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(layers))
        self.close = nn.Sequential(
            nn.Flatten(), nn.Linear(CHANNELS * side**3, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)
        )

    def forward(self, x):
        u = x.repeat(1, CHANNELS, 1, 1, 1)
        for layer in self.layers:
            u = u + F.relu(layer(u)) / len(self.layers)
        return self.close(u)


def main():
    parser = options(__doc__)
    for name, default in (("side", 31), ("layers", 128), ("batch", 4)):
        parser.add_argument(name, nargs="?", type=int, default=default)
    args = parser.parse_args()
    prepare(parser, args)
    side, layers, batch = args.side, args.layers, args.batch
    x = (torch.sin(torch.arange(batch * side**3) * 0.37) > 0.5).float().view(batch, 1, side, side, side)
    x, y = x.to(args.device), (torch.arange(batch) % CLASSES).to(args.device)
    net = Net(side, layers).to(args.device)
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)
    step = training_step(args, net, optimizer, lambda: F.cross_entropy(net(x), y))
    report(args, f"voxels:{side}x{layers}@{batch}", variant(args), time_in_turns(args, step, ROUNDS, STEPS))


if __name__ == "__main__":
    main()
