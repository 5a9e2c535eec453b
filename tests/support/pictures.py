"""Compare figures and moving pictures: the stored one with the one that was just drawn."""

import io
import tempfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageSequence

TILE = 32
# Root mean square, over the worst 32 x 32 tile, of the difference in grey levels (0 to 255).
LIMIT = 1.0


def worst_tile(old, new):
    """RMS of old - new over the worst 32 x 32 tile, tiles 8 pixels apart, and that tile's (row, column).

    One number for the whole picture would hide a changed letter among the white.
    """
    square = ((old.astype(float) - new.astype(float)) ** 2).mean(axis=2)
    height, width = square.shape
    tile_rows, tile_columns = min(TILE, height), min(TILE, width)
    total = np.zeros((height + 1, width + 1))
    total[1:, 1:] = square.cumsum(axis=0).cumsum(axis=1)
    rows = np.unique(np.append(np.arange(0, height - tile_rows, 8), height - tile_rows))[:, None]
    columns = np.unique(np.append(np.arange(0, width - tile_columns, 8), width - tile_columns))[None, :]
    end_rows, end_columns = rows + tile_rows, columns + tile_columns
    sums = total[end_rows, end_columns] - total[rows, end_columns] - total[end_rows, columns] + total[rows, columns]
    row, column = np.unravel_index(sums.argmax(), sums.shape)
    rms = np.sqrt(max(sums[row, column], 0) / (tile_rows * tile_columns))
    return float(rms), (int(rows[row, 0]), int(columns[0, column]))


def read(data, suffix):
    """Decode a PNG, GIF or MP4 (bytes). Return its frames, (height, width, channels), and what else must agree."""
    if suffix == ".mp4":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "film.mp4")
            path.write_bytes(data)
            reader = imageio_ffmpeg.read_frames(path)
            about = next(reader)
            width, height = about["size"]
            frames = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]
        return frames, {"codec": about["codec"], "fps": about["fps"]}
    with Image.open(io.BytesIO(data)) as picture:
        read = [(np.asarray(f.convert("RGBA")), f.info.get("duration")) for f in ImageSequence.Iterator(picture)]
        frames, durations = zip(*read, strict=True)
        return frames, {"format": picture.format, "durations": durations, "loop": picture.info.get("loop")}


def compare(old, new, suffix=".png", pixels=True):
    """Say how two pictures (bytes) differ, or "" when they do not; pixels=False compares all but the pixels."""
    if old == new:
        return ""
    (old_frames, old_facts), (new_frames, new_facts) = read(old, suffix), read(new, suffix)
    if len(old_frames) != len(new_frames):
        return f"{len(old_frames)} frames stored, {len(new_frames)} now"
    for fact, value in old_facts.items():
        if value != new_facts[fact]:
            return f"{fact}: {value} stored, {new_facts[fact]} now"
    worst = (0.0, 0, (0, 0))
    for number, (old_frame, new_frame) in enumerate(zip(old_frames, new_frames, strict=True)):
        if old_frame.shape != new_frame.shape:
            return f"size {old_frame.shape[1::-1]} stored, {new_frame.shape[1::-1]} now"
        if pixels:
            rms, place = worst_tile(old_frame, new_frame)
            worst = max(worst, (rms, number, place))
    rms, number, (row, column) = worst
    if rms <= LIMIT:
        return ""
    frame = f"frame {number}, " if len(old_frames) > 1 else ""
    return f"{frame}around row {row + TILE // 2}, column {column + TILE // 2}: difference {rms:.1f}, allowed {LIMIT}"


def keep(old, new, folder, name):
    """Write both pictures, and their difference where they are stills of one size, to `folder`, to look at."""
    folder.mkdir(parents=True, exist_ok=True)
    stem, suffix = Path(name).stem, Path(name).suffix
    (folder / f"{stem}-stored{suffix}").write_bytes(old)
    (folder / f"{stem}-new{suffix}").write_bytes(new)
    if suffix == ".png":
        (old_frame,), (new_frame,) = read(old, suffix)[0], read(new, suffix)[0]
        if old_frame.shape == new_frame.shape:
            difference = abs(old_frame.astype(int) - new_frame).max(axis=2)
            Image.fromarray((255 - difference).astype(np.uint8)).save(folder / f"{stem}-difference.png")
