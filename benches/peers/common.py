"""What the peers share: training steps on a device, deciles of times, and measurements as lines of JSON, in the format of
`braidnet_monitor::Measurement`.

On a GPU the clock is read when the device is idle, TF32 is off (products and convolutions are done in single precision), and one
number of threads is timed. With `--graphs` a whole training step (forward, loss, backward, update) is captured as a CUDA graph and
replayed, on inputs that stay where they are.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import torch


def deciles(times):
    """First decile, median and last decile."""
    times = sorted(times)
    return [times[tenths * len(times) // 10] for tenths in (1, 5, 9)]


def options(doc):
    """A parser with the options `--json`, `--device` and `--graphs`; its description is the docstring of the program."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="append the measurements to this file, one object a line")
    parser.add_argument("--device", type=device, default=torch.device("cpu"), metavar="DEVICE", help="cpu, cuda or cuda:N")
    parser.add_argument("--graphs", action="store_true", help="replay whole steps as CUDA graphs; needs a GPU")
    return parser


def device(text):
    """A device that PyTorch has here."""
    try:
        found = torch.device(text)
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"no device {text!r}: use cpu, cuda or cuda:N") from error
    if found.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"no device {text!r}: use cpu, cuda or cuda:N")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise argparse.ArgumentTypeError(f"no device {text!r}: PyTorch finds {torch.cuda.device_count()} GPUs")
    return found


def prepare(parser, args):
    """Sets the device's precision; ends with the usage if the options do not go together."""
    if args.graphs and args.device.type != "cuda":
        parser.error("--graphs needs --device cuda")
    if args.device.type == "cuda":
        torch.cuda.set_device(args.device)
        # Convolutions choose their kernels by timing, as ours do.
        torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def training_step(args, net, optimizer, loss):
    """A step of training as a function, eager or as a graph; the network and what `loss()` uses are on the device."""

    def step():
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return captured(step) if args.graphs else step


def captured(step):
    """A step as a CUDA graph, after steps on a stream aside that let the libraries choose their kernels."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def synchronize(device):
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_in_turns(args, step, rounds, steps, threads=(1, 2)):
    """Seconds of each step by number of threads, which take turns; the first steps of a turn are not counted: one, and on a GPU three.
    There one number of threads is timed, for more steps, as they are shorter."""
    is_on_gpu = args.device.type == "cuda"
    if is_on_gpu:
        threads, steps = (1,), 10
    times = {number: [] for number in threads}
    for _ in range(rounds):
        for number, taken in times.items():
            torch.set_num_threads(number)
            for _ in range(3 if is_on_gpu else 1):
                step()
            for _ in range(steps):
                synchronize(args.device)
                start = time.perf_counter()
                step()
                synchronize(args.device)
                taken.append(time.perf_counter() - start)
    return times


def variant(args, *words):
    """The name of a way of computing: eager or graphs, and what else there is to say."""
    return ", ".join(["graphs" if args.graphs else "eager", *words])


def report(args, case, variant, times):
    """Prints times by number of threads, and appends them to a file, if there is one."""
    for threads, taken in times.items():
        low, median, high = (1e3 * seconds for seconds in deciles(taken))
        place = f"{threads} threads" if args.device.type == "cpu" else name(args.device)
        print(f"{case}, {variant}, {place}: {median:.1f} ms ({low:.1f}-{high:.1f})", flush=True)
        record(args, "study", case, variant, threads, taken)


def name(device):
    """`cpu`, or `cuda:0 (NVIDIA H200)`."""
    if device.type == "cpu":
        return "cpu"
    return f"cuda:{device.index or 0} ({torch.cuda.get_device_name(device)})"


def record(args, bench, case, variant, threads, times):
    """Appends what was measured of one variant to a file, if there is one; times are in seconds."""
    path = args.json
    if path is None:
        return
    low, median, high = deciles(times)
    if args.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(args.device)
    else:
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measurement = {
        "bench": bench,
        "case": case,
        "variant": variant,
        "by": "pytorch",
        "ranks": threads,
        "transport": "none",
        "device": name(args.device),
        "seconds": {"first_decile": low, "median": median, "last_decile": high, "n": len(times)},
        "peak_bytes": peak,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(measurement, separators=(",", ":")) + "\n")
