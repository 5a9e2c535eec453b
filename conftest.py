import sys

import pytest
import torch

# At the root, so that the cells of notebooks/ get the strict checks too, also when a notebook is named alone.
pytest_plugins = ["tests.support.strict_nbval"]

# 27 sends kill -9 to processes of its own, which Windows has not; its first lines say so to the reader.
collect_ignore = ["notebooks/27_share_the_work.ipynb"] if sys.platform == "win32" else []


@pytest.fixture
def as_in_the_notebooks():
    """One thread and double precision, as each notebook's first cell asks for."""
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)
