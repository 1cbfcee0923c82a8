"""What the photograph of a screen, taken with a phone, makes of an image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import ensure_tuple_rep

from .screen_photo_light import (
    add_glare,
    compress,
    defocus_kernel,
    filtered,
    motion_kernel,
    pixel_grid,
    sensor_noise,
    vignette,
)
from .screen_photo_pose import CameraPose, places_on_screen, sampled

DISPLAY_GAMMA = 2.2  # light of a screen: level to this power
READ_NOISE = 0.008  # standard deviations of light from 0 to 1, at full strength
SHOT_NOISE = 0.08  # times the root of the light


@dataclass(frozen=True)
class ScreenPhoto:
    """The parameters of one photograph, in the order in which they happen; amounts are without effect at 0.

    Args:
        strength: that they were drawn for.
        gamma: relative change of the screen's exponent, which is 2.2 at 0.
        grid: depth of the screen's pixel grid, of which a sensor with about as many pixels sees moiré.
        grid_frequency: screen pixels per pixel of the photo, seen from the front.
        grid_phase: of the grid, in screen pixels.
        yaw, pitch, roll: of the camera, in degrees.
        zoom: relative enlargement.
        shift_first, shift_second: of the view, in halves of the shorter side.
        distortion: radial, of a lens (positive: the screen's edges are bent inwards), at half of the shorter side.
        haze: level (0 black, 1 white) of the room that the whole screen reflects.
        glare: level of the brightest point of a reflected lamp.
        glare_first, glare_second: its place, in halves of the shorter side from the centre.
        glare_radius: its standard deviation, in the same unit.
        vignette: how much darker the corners are, from 0 to 1.
        red, green, blue: relative change of a channel by a wrong white balance; an image of one channel has none.
        exposure: in stops.
        defocus: radius of the disc that a point becomes, in shorter sides.
        motion: length of the line that a point becomes, in shorter sides.
        motion_angle: its direction, in degrees.
        noise: of the sensor, from 0 to 1.
        compression: of JPEG; its quality is 100 less this.
        noise_seed: fixes the noise.
    """

    strength: float
    gamma: float
    grid: float
    grid_frequency: float
    grid_phase: float
    yaw: float
    pitch: float
    roll: float
    zoom: float
    shift_first: float
    shift_second: float
    distortion: float
    haze: float
    glare: float
    glare_first: float
    glare_second: float
    glare_radius: float
    vignette: float
    red: float
    green: float
    blue: float
    exposure: float
    defocus: float
    motion: float
    motion_angle: float
    noise: float
    compression: float
    noise_seed: int

    @classmethod
    def draw(cls, strength: float, random: np.random.RandomState) -> ScreenPhoto:
        """Random parameters; of one random state those of a higher strength are the same, stronger.

        Args:
            strength: 0 has no effect, 1 the strongest.
            random: where they are drawn from.
        """

        def amount(most: float) -> float:
            return float(strength * most * random.uniform(0.5, 1.0))

        def either_way(most: float) -> float:
            return amount(most) * float(random.choice([-1.0, 1.0]))

        return cls(
            strength=float(strength),
            gamma=either_way(0.2),
            grid=amount(0.5),
            grid_frequency=float(random.uniform(0.85, 1.15)),
            grid_phase=float(random.uniform()),
            yaw=either_way(20),
            pitch=either_way(20),
            roll=either_way(10),
            zoom=either_way(0.1),
            shift_first=either_way(0.1),
            shift_second=either_way(0.1),
            distortion=either_way(0.08),
            haze=amount(0.25),
            glare=amount(0.75),
            glare_first=float(random.uniform(-1, 1)),
            glare_second=float(random.uniform(-1, 1)),
            glare_radius=float(random.uniform(0.15, 0.6)),
            vignette=amount(0.6),
            red=either_way(0.25),
            green=either_way(0.1),
            blue=either_way(0.25),
            exposure=either_way(0.7),
            defocus=amount(0.008),
            motion=amount(0.02),
            motion_angle=float(random.uniform(0, 180)),
            noise=amount(1.0),
            compression=amount(75),
            noise_seed=int(random.randint(2**31)),
        )

    def places(self, size: tuple[int, int]) -> torch.Tensor:
        """Where on a screen of a size (H, W) the pixels of its photograph lie: pixel coordinates (2, H, W)."""
        shift = (self.shift_first, self.shift_second)
        return places_on_screen(size, CameraPose(self.yaw, self.pitch, self.roll, self.zoom, shift, self.distortion))

    def take(self, levels: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """The photograph of an image.

        Args:
            levels: (1, H, W) or (3, H, W), from 0 to 1.
            places: of its pixels, see :meth:`places`.

        Returns:
            Its shape, from 0 to 1.
        """
        height, width = levels.shape[1:]
        side = min(height, width)
        light = sampled(levels, places, "bilinear").clamp(0, 1) ** (DISPLAY_GAMMA * (1 + self.gamma))
        light = light * pixel_grid(places, len(levels), self.grid, self.grid_frequency, self.grid_phase)
        room, lamp = self.haze**DISPLAY_GAMMA, self.glare**DISPLAY_GAMMA
        light = add_glare(light, room, lamp, (self.glare_first, self.glare_second), self.glare_radius)
        light = light * vignette((height, width), self.vignette)
        if len(light) == 3:
            light = light * (1 + light.new_tensor([self.red, self.green, self.blue]).view(3, 1, 1))
        light = light * 2**self.exposure
        light = filtered(light, defocus_kernel(self.defocus * side))
        light = filtered(light, motion_kernel(self.motion * side, self.motion_angle))
        light = light + sensor_noise(light, self.noise * READ_NOISE, self.noise * SHOT_NOISE, self.noise_seed)
        return compress(light.clamp(0, 1) ** (1 / DISPLAY_GAMMA), 100 - self.compression)


class RandScreenPhotod(RandomizableTransform, MapTransform):
    """Photographs of an image on a screen, and its label as the camera sees it.

    What happens on the way from the image to the file happens in that order: the screen's gamma and pixel grid, the
    camera's perspective and lens, moiré where the sensor samples the grid, the room's reflections, vignette, white
    balance, exposure, defocus and motion, the sensor's noise, JPEG.

    Args:
        keys: images (C, H, W) of one or three channels and label maps, all of one size.
        mode: "bilinear" for an image, which is photographed; "nearest" for a label map, which is only warped. One, or
            one per key.
        strength: from 0, which leaves the item as it is, to 1; or a lowest and a highest, between which each
            photograph's is drawn.
        prob: probability of a photograph.
        intensity_range: values that the screen shows as black and white; None: each image's own range.
        retain_stats: bring each channel of a photograph to the mean and the standard deviation of its image, as the
            normalization of a photograph would after that of an image.
        record_key: the item's entry that gets the parameters, from which :class:`ScreenPhoto` takes the same photograph
            again; those of strength 0 where there is none.

    Raises:
        ValueError: If the strength is not in 0 to 1, a mode is unknown, or the range is empty.
    """

    def __init__(
        self,
        keys: KeysCollection,
        mode: Sequence[str] | str = "bilinear",
        strength: Sequence[float] | float = (0.0, 1.0),
        prob: float = 1.0,
        intensity_range: Sequence[float] | None = None,
        retain_stats: bool = False,
        record_key: str = "screen_photo",
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        if not set(self.mode) <= {"bilinear", "nearest"}:
            raise ValueError(f"mode is {mode!r}; expected 'bilinear' (images) or 'nearest' (label maps)")
        lowest, highest = (strength, strength) if isinstance(strength, int | float) else strength
        if not 0 <= lowest <= highest <= 1:
            raise ValueError(f"strength is {strength}; expected a number from 0 to 1, or two, the lower first")
        if intensity_range is not None and not intensity_range[0] < intensity_range[1]:
            raise ValueError(f"intensity_range is {intensity_range}; expected two numbers, the lower first")
        self.strength = float(lowest), float(highest)
        self.intensity_range = intensity_range
        self.retain_stats = retain_stats
        self.record_key = record_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes the photograph of one item.

        Returns:
            ``data`` with images and label maps of the same shapes and value ranges, and the parameters.

        Raises:
            ValueError: If an image is a volume or has another number of channels.
        """
        item = dict(data)
        self.randomize(None)
        strength = self.R.uniform(*self.strength) if self._do_transform else 0.0
        photo = ScreenPhoto.draw(strength, self.R)
        item[self.record_key] = asdict(photo)
        places: dict[tuple[int, int], torch.Tensor] = {}
        for key, mode in self.key_iterator(item, self.mode):
            image = item[key]
            photographed = mode == "bilinear"
            if image.ndim != 3 or (photographed and len(image) not in (1, 3)):
                raise ValueError(
                    f"{key} has the shape {tuple(image.shape)}; expected (1, H, W) or (3, H, W), what a screen shows: "
                    "set augmentation#screen_photo to 0"
                )
            if photo.strength == 0:
                continue
            plain = image.as_tensor() if isinstance(image, MetaTensor) else torch.as_tensor(image)
            size = (plain.shape[1], plain.shape[2])
            if size not in places:
                places[size] = photo.places(size)
            if photographed:
                values = self._photograph(photo, plain.float(), places[size])
            else:
                values = sampled(plain.float(), places[size], "nearest").to(plain.dtype)
            if isinstance(image, MetaTensor):
                values = MetaTensor(values, meta=dict(image.meta), applied_operations=image.applied_operations)
            item[key] = values
        return item

    def _photograph(self, photo: ScreenPhoto, image: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """The photograph of an image (C, H, W) in its own values."""
        low, high = image.aminmax() if self.intensity_range is None else image.new_tensor(self.intensity_range)
        span = high - low
        levels = (image - low) / torch.where(span > 0, span, 1.0)
        taken = photo.take(levels, places) * span + low
        if not self.retain_stats:
            return taken
        (mean, std), (own_mean, own_std) = (
            (values.mean((1, 2), keepdim=True), values.std((1, 2), keepdim=True)) for values in (image, taken)
        )
        return (taken - own_mean) * (std / torch.where(own_std > 0, own_std, 1.0)) + mean
