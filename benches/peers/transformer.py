"""Training step of the bench `transformer` in plain PyTorch, on one and two threads or on a GPU: medians and
deciles in ms.

    python benches/peers/transformer.py [LAYERS ...] [--batch 8] [--device cuda [--graphs]] [--json FILE]

Same network, batch, loss and optimiser (forward, loss, backward, SGD update); thread counts take turns.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from common import options, prepare, report, time_in_turns, training_step, variant

LENGTH, D, VOCABULARY, CLASSES = 64, 128, 1000, 49


class Layer(nn.Module):
    def __init__(self, dt):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.q, self.k, self.v, self.o = (nn.Linear(D, D) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(D, D), nn.Linear(D, D)
        self.dt = dt

    def forward(self, x):
        h = self.ln1(x)
        p = torch.softmax(self.q(h) @ self.k(h).transpose(1, 2) / math.sqrt(D), -1)
        phi1 = self.o(p @ self.v(h))
        phi2 = self.fc2(F.gelu(self.fc1(self.ln2(x + phi1))))
        return x + self.dt * (phi1 + phi2)


class Encoder(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, D)
        position = torch.arange(LENGTH).unsqueeze(1)
        angle = position / 10000 ** (torch.arange(0, D, 2) / D)
        self.register_buffer("positions", torch.stack([angle.sin(), angle.cos()], -1).flatten(1))
        self.body = nn.Sequential(*[Layer(1.0) for _ in range(layers)])
        self.ln, self.head = nn.LayerNorm(D), nn.Linear(D, CLASSES)

    def forward(self, tokens):
        return self.head(self.ln(self.body(self.embed(tokens) + self.positions)))


def main():
    parser = options(__doc__)
    parser.add_argument("layers", nargs="*", type=int, default=[32, 64])
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    prepare(parser, args)
    x = torch.randint(0, 60, (args.batch, LENGTH), device=args.device)
    y = torch.randint(0, CLASSES, (args.batch * LENGTH,), device=args.device)
    for layers in args.layers:
        net = Encoder(layers).to(args.device)
        optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)
        step = training_step(args, net, optimizer, lambda: F.cross_entropy(net(x).flatten(0, 1), y))
        report(args, f"encoder:{layers}@{args.batch}", variant(args), time_in_turns(args, step, 4, 4))


if __name__ == "__main__":
    main()
