"""Every mode of Pillow to RGB."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded picture as ``handler.images.decode_guarded`` promises."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_grey_8bit(image)).convert("RGB")
    if image.mode == "LAB":  # Pillow has no plain conversion for it
        return _lab_to_rgb(image)
    if image.has_transparency_data:
        return _over_white(image.convert("RGBA"))
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    if converted is None:
        raise RuntimeError("profileToProfile gave no picture")
    return converted


def _grey_8bit(image: Image.Image) -> NDArray[np.uint8]:
    """Scale 16-bit, 32-bit and floating grey values to 0-255."""
    values: NDArray[np.floating] = np.asarray(image, dtype=np.float32)  # (H, W)
    if image.mode == "F":
        values = np.nan_to_num(values, posinf=255)
        values = values * 255 if values.max() <= 1 else values
    else:
        values = values / 257  # 65535 becomes 255
    return values.clip(0, 255).round().astype(np.uint8)
