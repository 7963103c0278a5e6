"""Training step of the bench `voxels` in plain PyTorch, on one and two threads: medians and deciles in ms.

    python benches/peers/voxels.py [SIDE] [LAYERS] [BATCH]

Same network (4 channels, one convolution per layer), loss and optimiser; thread counts take turns.
"""

import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

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
    given = [int(a) for a in sys.argv[1:]]
    side, layers, batch = given + [31, 128, 4][len(given) :]
    x = (torch.sin(torch.arange(batch * side**3) * 0.37) > 0.5).float().view(batch, 1, side, side, side)
    y = torch.arange(batch) % CLASSES
    net = Net(side, layers)
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()

    times = {1: [], 2: []}
    for _ in range(ROUNDS):
        for threads, taken in times.items():
            torch.set_num_threads(threads)
            step()
            for _ in range(STEPS):
                start = time.perf_counter()
                step()
                taken.append(1e3 * (time.perf_counter() - start))
    for threads, taken in times.items():
        taken.sort()
        low, middle, high = (taken[tenths * (len(taken) - 1) // 10] for tenths in (1, 5, 9))
        print(f"{layers} layers, {side}^3, batch {batch}, {threads} threads: {middle:.1f} ms ({low:.1f}-{high:.1f})")


if __name__ == "__main__":
    main()
