"""Training step of the bench `blocks` in plain PyTorch, on one and two threads or on a GPU: medians and deciles
in ms.

    python benches/peers/blocks.py [LAYERS_PER_BLOCK] [--device cuda [--graphs]] [--json FILE]

Same network (four blocks, 8 to 64 channels, batch norm, 64x64 pictures), batch of 20, loss and optimiser; thread counts take turns.
"""

import torch
from torch import nn
from torch.nn import functional as F

from common import options, prepare, report, time_in_turns, training_step, variant

BATCH, CLASSES, CHANNELS, BLOCKS, ROUNDS, STEPS = 20, 20, 8, 4, 4, 2


def conv(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class Layer(nn.Module):
    def __init__(self, channels, dt):
        super().__init__()
        self.conv1, self.bn1 = conv(channels, channels), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = conv(channels, channels), nn.BatchNorm2d(channels)
        self.dt = dt

    def forward(self, u):
        return u + self.dt * F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(u))))))


class Transition(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv, self.bn = conv(channels, 2 * channels, 2), nn.BatchNorm2d(2 * channels)

    def forward(self, u):
        return F.relu(self.bn(self.conv(F.max_pool2d(u, 3, 1, 1))))


def network(per_block):
    dt = 1 / (BLOCKS * per_block + BLOCKS - 1)
    body, channels = [], CHANNELS
    for block in range(BLOCKS):
        if block > 0:
            body.append(Transition(channels))
            channels *= 2
        body += [Layer(channels, dt) for _ in range(per_block)]
    close = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)]
    return nn.Sequential(conv(3, CHANNELS), nn.BatchNorm2d(CHANNELS), nn.ReLU(), *body, *close)


def main():
    parser = options(__doc__)
    parser.add_argument("per_block", nargs="?", type=int, default=16, metavar="LAYERS_PER_BLOCK")
    args = parser.parse_args()
    prepare(parser, args)
    x = torch.sin(torch.arange(BATCH * 3 * 64 * 64) * 0.37).view(BATCH, 3, 64, 64).to(args.device)
    y = (torch.arange(BATCH) % CLASSES).to(args.device)
    net = network(args.per_block).to(args.device)
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)
    step = training_step(args, net, optimizer, lambda: F.cross_entropy(net(x), y))
    report(args, f"blocks:{args.per_block}@{BATCH}", variant(args), time_in_turns(args, step, ROUNDS, STEPS))


if __name__ == "__main__":
    main()
