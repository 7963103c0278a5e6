"""What the peers share: deciles of times, and measurements as lines of JSON, in the format of `braidnet_monitor::Measurement`."""

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
    """A parser with the option `--json FILE`; its description is the docstring of the program."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="append the measurements to this file, one object a line")
    return parser


def time_in_turns(step, rounds, steps, threads=(1, 2)):
    """Seconds of each step by number of threads, which take turns; the first step of a turn is not counted."""
    times = {number: [] for number in threads}
    for _ in range(rounds):
        for number, taken in times.items():
            torch.set_num_threads(number)
            step()
            for _ in range(steps):
                start = time.perf_counter()
                step()
                taken.append(time.perf_counter() - start)
    return times


def report(path, case, variant, times):
    """Prints times by number of threads, and appends them to a file, if there is one."""
    for threads, taken in times.items():
        low, median, high = (1e3 * seconds for seconds in deciles(taken))
        print(f"{case}, {variant}, {threads} threads: {median:.1f} ms ({low:.1f}-{high:.1f})", flush=True)
        record(path, "study", case, variant, threads, taken)


def record(path, bench, case, variant, threads, times):
    """Appends what was measured of one variant to a file, if there is one; times are in seconds."""
    if path is None:
        return
    low, median, high = deciles(times)
    measurement = {
        "bench": bench,
        "case": case,
        "variant": variant,
        "by": "pytorch",
        "ranks": threads,
        "transport": "none",
        "device": "cpu",
        "seconds": {"first_decile": low, "median": median, "last_decile": high, "n": len(times)},
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(measurement, separators=(",", ":")) + "\n")
