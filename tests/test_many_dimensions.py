"""The geyser's file of notebook 25, and the density that the notebook builds."""

import ast
import hashlib
import math
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks/25_fit_many_dimensions.ipynb"


@pytest.fixture(scope="module")
def built():
    """The functions of the notebook that build the density, with the modules that they use."""
    names = {"math": math, "torch": torch}
    wanted = ["factors", "log_normals", "joint_log_densities", "log_density", "floored"]
    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    nodes = [node for cell in cells for node in ast.parse(cell.source).body]
    functions = [node for node in nodes if getattr(node, "name", "") in wanted]
    assert [node.name for node in functions] == wanted
    exec("\n".join(map(ast.unparse, functions)), names)
    return names


def test_the_geyser_is_whole():
    header, *rows = (ROOT / "notebooks/data/old_faithful.csv").read_text(encoding="utf-8").split()
    assert header == "eruptions,waiting" and len(rows) == 272
    eruptions, waiting = np.array([row.split(",") for row in rows], dtype=float).T
    assert eruptions.sum() == pytest.approx(948.677) and waiting.sum() == 19284
    assert hashlib.sha256(" ".join(rows).encode()).hexdigest()[:16] == "e98b07ac23ff9d71"


@pytest.mark.parametrize("K, D", [(1, 1), (2, 2), (3, 5)])
def test_the_density_is_that_of_torch(built, K, D):
    torch.manual_seed(0)
    x_ND, μ_KD, s_KD, a_K = (torch.randn(*shape, dtype=torch.float64) for shape in [(7, D), (K, D), (K, D), (K,)])
    L_KDD = built["factors"](torch.randn(K, D, D, dtype=torch.float64), s_KD)
    normals = torch.distributions.MultivariateNormal(μ_KD, scale_tril=L_KDD)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=a_K), normals)
    torch.testing.assert_close(built["log_density"](x_ND, μ_KD, L_KDD, a_K), mixture.log_prob(x_ND))


def test_a_floor_holds_a_flat_component(built):
    flat_1DD = torch.tensor([[[1.0, 0.0], [1.0, 1e-9]]])
    L_1DD = built["floored"](flat_1DD, 0.04)
    assert torch.linalg.svdvals(L_1DD)[0, -1].item() == pytest.approx(0.2, abs=1e-4)


def test_the_photograph_has_a_pile_at_red_zero():
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("flower.jpg")
    assert photo.shape == (427, 640, 3) and (photo[..., 0] == 0).mean() == pytest.approx(0.2504, abs=5e-5)
