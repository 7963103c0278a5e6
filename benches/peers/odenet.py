"""Training step of the bench `step` in plain PyTorch, on one and two threads: medians and deciles in ms.

    python benches/peers/odenet.py [LAYERS ...]

Same network, batch, loss and optimiser (forward, loss, backward, SGD update); thread counts take turns.
"""

import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

# Layers, channels, rounds and steps per round.
CASES = [(36, 3, 6, 5), (64, 4, 4, 3), (128, 12, 2, 2)]


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
    wanted = [int(a) for a in sys.argv[1:]]
    x = torch.sin(torch.arange(50 * 784) * 0.37).view(50, 1, 28, 28)
    y = torch.arange(50) % 10
    for layers, channels, rounds, steps in CASES:
        if wanted and layers not in wanted:
            continue
        net = network(layers, channels)
        optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)

        def step():
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()

        times = {1: [], 2: []}
        for _ in range(rounds):
            for threads, taken in times.items():
                torch.set_num_threads(threads)
                step()
                for _ in range(steps):
                    start = time.perf_counter()
                    step()
                    taken.append(1e3 * (time.perf_counter() - start))
        for threads, taken in times.items():
            taken.sort()
            low, median, high = (taken[int(p * len(taken))] for p in (0.1, 0.5, 0.9))
            print(f"{layers} layers x {channels} channels, {threads} threads: {median:.1f} ms ({low:.1f}-{high:.1f})", flush=True)


if __name__ == "__main__":
    main()
