"""The comparison of figures: what it has to notice, and what it has to let pass."""

import io

import imageio.v3 as iio
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import pictures

X = np.linspace(-3, 3, 200)


def figure(title="The mixture's density", label="x", second=True, shift=0.0, style="-", width=4):
    fig = Figure(figsize=(width, 3), dpi=100)
    ax = fig.add_subplot()
    ax.plot(X, np.exp(-((X - shift) ** 2)), style)
    if second:
        ax.plot(X, np.exp(-(X**2)) / 2)
    ax.set(title=title, xlabel=label)
    file = io.BytesIO()
    fig.savefig(file, format="png")
    return file.getvalue()


def test_the_same_figure_passes():
    assert pictures.compare(figure(), figure()) == ""
    assert pictures.compare(figure(), figure(shift=1e-9)) == ""


@pytest.mark.parametrize(
    "fault",
    [
        {"title": "The mixture's dencity"},
        {"title": "The mixtures density"},
        {"label": "X"},
        {"second": False},
        {"shift": 0.01},
        {"style": "--"},
        {"width": 4.02},
    ],
    ids=str,
)
def test_another_figure_is_noticed(fault):
    assert pictures.compare(figure(), figure(**fault)) != ""


def test_only_the_size_counts_without_pixels():
    assert pictures.compare(figure(), figure(second=False), pixels=False) == ""
    assert "size" in pictures.compare(figure(), figure(width=5), pixels=False)


def test_worst_tile_is_where_the_change_is():
    old = np.zeros((100, 150, 3), np.uint8)
    new = old.copy()
    new[90:, 140:] = 255
    rms, (row, column) = pictures.worst_tile(old, new)
    assert rms == pytest.approx(255 * 10 / 32)
    assert row <= 90 <= row + 32 <= 100
    assert column <= 140 <= column + 32 <= 150
    assert pictures.worst_tile(old[:10, :10], old[:10, :10]) == (0, (0, 0))


def gif(frames, **how):
    file = io.BytesIO()
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], **{"duration": 100, "loop": 0, **how})
    return file.getvalue()


FRAMES = [np.full((64, 64, 3), 60 * t, np.uint8) for t in range(4)]
BRIGHTER = [*FRAMES[:2], FRAMES[2] + 20, FRAMES[3]]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (gif(FRAMES[:3]), "4 frames stored, 3 now"),
        (gif(FRAMES, duration=200), "durations"),
        (gif(FRAMES, loop=2), "loop"),
        (gif(BRIGHTER), "frame 2"),
        (gif([frame[:32] for frame in FRAMES]), "size"),
    ],
    ids=["frames", "durations", "loop", "one frame", "size"],
)
def test_another_gif_is_noticed(fault, says):
    assert says in pictures.compare(gif(FRAMES), fault, ".gif")


def mp4(folder, frames, fps=10):
    path = folder / "film.mp4"
    iio.imwrite(path, np.stack(frames), plugin="FFMPEG", fps=fps, macro_block_size=2)
    return path.read_bytes()


def test_another_mp4_is_noticed(tmp_path):
    stored = mp4(tmp_path, FRAMES)
    assert pictures.compare(stored, mp4(tmp_path, FRAMES), ".mp4") == ""
    assert "4 frames stored, 3 now" in pictures.compare(stored, mp4(tmp_path, FRAMES[:3]), ".mp4")
    assert "frame 2" in pictures.compare(stored, mp4(tmp_path, BRIGHTER), ".mp4")
    assert "fps" in pictures.compare(stored, mp4(tmp_path, FRAMES, fps=20), ".mp4")
    # The same film in other bytes, as another encoder would write it.
    assert pictures.compare(stored, stored + b"\0\0\0\x08free", ".mp4") == ""


def test_pictures_that_differ_are_kept(tmp_path):
    pictures.keep(figure(), figure(second=False), tmp_path / "kept", "cell-3.png")
    names = {file.name for file in (tmp_path / "kept").iterdir()}
    assert names == {"cell-3-stored.png", "cell-3-new.png", "cell-3-difference.png"}
