"""From documents to token streams: split by hash, tokenizer from the training part only, one array a part.

Text larger than memory is fine: documents are read one by one, several times over, and the streams are memory-mapped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import batched, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError
from tutelage.workloads._cache import cached, content_key
