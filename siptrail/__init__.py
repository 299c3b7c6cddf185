"""The command line, the configuration, and the service that wires everything together."""

import gc
import os

__version__ = "0.1.0"

# NumPy's linear algebra is not used here; its threads would only spin at the start and take memory.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# One allocator for Arrow and all others: each would keep for itself what it once had.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
# What is loaded at the start stays; to look at all of it again and again would cost a tenth of the time that takes.
gc.set_threshold(20_000, 20, 20)
