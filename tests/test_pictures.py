"""The comparison of figures: what it has to notice, and what it has to let pass."""

import io

import imageio.v3 as iio
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.support import pictures

X = np.linspace(-3, 3, 200)


def figure(title="The mixture's density", label="x", second=True, shift=0.0, style="-", width=4):
    fig = Figure(figsize=(width, 3), dpi=100)
    ax = fig.add_subplot()
    ax.plot(X, np.exp(-((X - shift) ** 2)), style)
    if second:
        ax.plot(X, np.exp(-(X**2)) / 2)
    ax.set(title=title, xlabel=label)
    fig.savefig(file := io.BytesIO(), format="png")
    return file.getvalue()


FAULTS = [
    {"title": "The mixture's dencity"},
    {"title": "The mixtures density"},
    {"label": "X"},
    {"second": False},
    {"shift": 0.01},
    {"style": "--"},
    {"width": 4.02},
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_another_figure_is_noticed(fault):
    assert pictures.compare(figure(), figure(shift=1e-9)) == ""
    assert pictures.compare(figure(), figure(**fault)) != ""
    assert bool(pictures.compare(figure(), figure(**fault), pixels=False)) is ("width" in fault)


def test_the_worst_tile_is_where_the_change_is():
    old = np.zeros((100, 150, 3), np.uint8)
    new = old.copy()
    new[90:, 140:] = 255
    rms, (row, column) = pictures.worst_tile(old, new)
    assert rms == pytest.approx(255 * 10 / 32)
    assert row <= 90 <= row + 32 <= 100 and column <= 140 <= column + 32 <= 150
    assert pictures.worst_tile(old[:10, :10], old[:10, :10]) == (0, (0, 0))


FRAMES = [np.full((64, 64, 3), 60 * t, np.uint8) for t in range(4)]
BRIGHTER = [*FRAMES[:2], FRAMES[2] + 20, FRAMES[3]]


def gif(frames, **how):
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(file := io.BytesIO(), "GIF", save_all=True, append_images=others, **{"duration": 100, "loop": 0, **how})
    return file.getvalue()


def mp4(frames, fps=10):
    return iio.imwrite("<bytes>", np.stack(frames), extension=".mp4", plugin="FFMPEG", fps=fps, macro_block_size=2)


@pytest.mark.parametrize(
    ("write", "fault", "says"),
    [
        (gif, {"frames": FRAMES[:3]}, "4 frames stored, 3 now"),
        (gif, {"frames": BRIGHTER}, "frame 2"),
        (gif, {"frames": [frame[:32] for frame in FRAMES]}, "size"),
        (gif, {"duration": 200}, "durations"),
        (gif, {"loop": 2}, "loop"),
        (mp4, {"frames": FRAMES[:3]}, "4 frames stored, 3 now"),
        (mp4, {"frames": BRIGHTER}, "frame 2"),
        (mp4, {"fps": 20}, "fps"),
    ],
)
def test_another_film_is_noticed(write, fault, says):
    stored, suffix = write(FRAMES), f".{write.__name__}"
    assert pictures.compare(stored, write(FRAMES), suffix) == ""
    assert says in pictures.compare(stored, write(**{"frames": FRAMES, **fault}), suffix)


def test_the_same_film_in_other_bytes_passes_as_another_encoder_would_write_it():
    assert pictures.compare(mp4(FRAMES), mp4(FRAMES) + b"\0\0\0\x08free", ".mp4") == ""
