"""Walks for as long as somebody wants, on all cores: `make soak-rules` says how."""

import argparse
import os
import random
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice

from tests.property.campaign import campaign

_CHUNK = 50
"""How many walks a process makes at a time."""

_SEEDS = 10**9


def soak(seed: int, examples: int, seconds: float) -> int:
    """Make so many walks, for so long at most; return how many. Raises what `campaign` does."""
    end = time.monotonic() + seconds
    last = seed + examples
    firsts = iter(range(seed, last, _CHUNK))
    processes = os.cpu_count() or 1
    made = 0
    with ProcessPoolExecutor(processes) as pool:

        def begin(count: int) -> set[Future[int]]:
            return {pool.submit(_walk, first, last) for first in islice(firsts, count)}

        going = begin(processes)
        while going:
            done, going = wait(going, return_when=FIRST_COMPLETED)
            made += sum(future.result() for future in done)
            _say(f"\r{made} walks")
            if time.monotonic() < end:
                going |= begin(len(done))
    return made


def _walk(first: int, last: int) -> int:
    count = min(_CHUNK, last - first)
    campaign(first, count)
    return count


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> int:
    """Soak as the command line says; the exit status says whether all held."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=random.randrange(_SEEDS))
    options = parser.parse_args()
    _say(f"seed {options.seed}\n")
    try:
        soak(options.seed, options.examples, options.seconds)
    except AssertionError as error:
        _say(f"\n{error}\nThe same again: make soak-rules EXAMPLES=1 SEED=<the walk's number>\n")
        return 1
    _say(": all held\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
