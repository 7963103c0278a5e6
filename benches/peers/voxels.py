"""Training step of the bench `voxels` in plain PyTorch, on one and two threads: medians and deciles in ms.

    python benches/peers/voxels.py [SIDE] [LAYERS] [BATCH] [--json FILE]

Same network (4 channels, one convolution per layer), loss and optimiser; thread counts take turns.
"""

import torch
from torch import nn
from torch.nn import functional as F

from common import options, report, time_in_turns

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
    side, layers, batch = args.side, args.layers, args.batch
    x = (torch.sin(torch.arange(batch * side**3) * 0.37) > 0.5).float().view(batch, 1, side, side, side)
    y = torch.arange(batch) % CLASSES
    net = Net(side, layers)
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()

    report(args.json, f"voxels:{side}x{layers}@{batch}", "eager", time_in_turns(step, ROUNDS, STEPS))


if __name__ == "__main__":
    main()
