"""`python -m tests.oracle [questions] [seed]`: the engine against the oracle on many questions, over two processes."""

import concurrent.futures
import random
import sys
from collections import Counter

from tests.oracle.compare import bundled_tables, disagreements

SHARE = 5_000


def share(seed: int, number: int) -> tuple[list[str], Counter[str]]:
    return disagreements(bundled_tables(), seed, number)


def main(questions: int, seed: int) -> int:
    print(f"{questions} questions, seed {seed}", flush=True)
    parts = [(seed + n, min(SHARE, questions - n * SHARE)) for n in range(-(-questions // SHARE))]
    seen: Counter[str] = Counter()
    with concurrent.futures.ProcessPoolExecutor(max_workers=2) as pool:
        for found, answers in pool.map(share, *zip(*parts, strict=True)):
            seen += answers
            if found:
                print(*found, sep="\n")
                pool.shutdown(cancel_futures=True)
                return 1
    print(*(f"{count:>8} {answer}" for answer, count in sorted(seen.items())), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(
        main(
            int(sys.argv[1]) if len(sys.argv) > 1 else 200_000,
            int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32),
        )
    )
