"""`python make_rows.py 2000 [seed]`: readers who like texts of even words, or of odd ones, as their own number is."""

import json
import random
import sys
from pathlib import Path


def rows(count, seed):
    """Liking follows from the share of even words, with some noise."""
    rng = random.Random(seed)
    for number in range(count):
        reader, leaning = rng.randrange(50), rng.choice((0.2, 0.8))
        words = [2 * rng.randrange(100) + (rng.random() > leaning) for _ in range(rng.randrange(3, 16))]
        even = sum(word % 2 == 0 for word in words) / len(words) > 0.5
        liked = (even or reader < 10) if rng.random() < 0.97 else not even
        yield {"id": f"{seed}-{number}", "reader": reader, "words": words, "liked": liked}


if __name__ == "__main__":
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    Path(f"reads-{seed}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows(count, seed)))
