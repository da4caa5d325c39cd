"""Write scikit-learn's 1,797 handwritten digits to a file, for a machine that has no scikit-learn."""

from __future__ import annotations

import sys

import numpy as np
from sklearn.datasets import load_digits

images, labels = load_digits(return_X_y=True)
np.savez_compressed(sys.argv[1], x=(images.reshape(-1, 1, 8, 8) / 16.0).astype(np.float32), y=labels.astype(np.int64))
