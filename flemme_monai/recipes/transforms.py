"""The transforms of each task: how cases are loaded, scaled, augmented, and predictions brought back."""

from __future__ import annotations

from .base import MULTI_LABEL, Config, component, compose

BOTH = ["image", "label"]
GIVEN = "(@degradation == 'given')"  # a reconstruction from given pairs
AS_VALIDATION = "%validate#preprocessing"  # a copy of validation's transforms, one among training's
NOT_RESAMPLED = "@spacing is None"
ON_OWN_GRID = f"{NOT_RESAMPLED} and not flemme_monai.utils.as_bool(@crop_foreground)"  # but turned to RAS


def load_images() -> list[Config]:
    """Load images, bring them into one orientation, and refuse what the settings do not describe."""
    return [
        component("flemme_monai.transforms.LoadImageFilesd", keys="image"),
        component("flemme_monai.transforms.EnsureChannelAxisd", keys="image", spatial_dims="@spatial_dims"),
        component("flemme_monai.transforms.OrientVolumesd", keys="image"),
        component(
            "flemme_monai.transforms.CheckCased",
            in_channels="@in_channels",
            spatial_dims="@spatial_dims",
            neighbour_slices="@neighbour_slices",
        ),
    ]


def load_segmentations(need_label: bool = True, own_grid: bool = False, unless: str = "") -> list[Config]:
    """Load images and labels, as :func:`load_images`, with images of the planned spacing and intensities.

    Args:
        need_label: inference takes a label where there is one.
        own_grid: labels stay on their files' grid.
        unless: an expression under which images stay there too; empty for none.
    """
    optional = {} if need_label else {"need_label": False}
    return [
        component("flemme_monai.transforms.LoadImageFilesd", keys="image"),
        component("flemme_monai.transforms.LoadLabeld", keys="label", **optional),
        component("flemme_monai.transforms.EnsureChannelAxisd", keys=BOTH, spatial_dims="@spatial_dims"),
        component("flemme_monai.transforms.OrientVolumesd", keys=BOTH),
        component(
            "flemme_monai.transforms.CheckCased",
            in_channels="@in_channels",
            num_classes="@num_classes",
            spatial_dims="@spatial_dims",
            multi_label=f"${MULTI_LABEL}",
            neighbour_slices="@neighbour_slices",
            **optional,
        ),
        *planned_grid_and_intensities("image" if own_grid else BOTH, unless),
    ]


def planned_grid_and_intensities(keys: str | list[str], unless: str) -> list[Config]:
    """Crop to the content or resize, clip and standardise, and resample: as nnU-Net, in its order.

    Args:
        keys: what is brought to another grid by its spacing.
        unless: an expression under which nothing is; empty for none.
    """
    or_else = f" or {unless}" if unless else ""
    low_and_high, mean_and_std = "(@intensity_range or (0.0, 1.0))", "(@intensity_mean_std or (0.0, 1.0))"
    of_each = "@intensity_mean_std is None"
    labels = {"labels": [key == "label" for key in keys]} if isinstance(keys, list) else {}
    return [
        component(
            "monai.transforms.CropForegroundd",
            _disabled_=f"$not flemme_monai.utils.as_bool(@crop_foreground){or_else}",
            keys=keys,
            source_key="image",
            select_fn="$flemme_monai.transforms.Content(@crop_above)",
            start_coord_key=None,
            end_coord_key=None,
            allow_missing_keys=True,
        ),
        component(
            "flemme_monai.transforms.ResizeCased",
            _disabled_="$@resized_to is None",
            keys=BOTH,
            spatial_size="@resized_to",
            spatial_dims="@spatial_dims",
        ),
        component(
            "monai.transforms.ScaleIntensityRanged",
            _disabled_="$@intensity_range is None",
            keys="image",
            a_min=f"${low_and_high}[0]",
            a_max=f"${low_and_high}[1]",
            b_min=f"${low_and_high}[0]",
            b_max=f"${low_and_high}[1]",
            clip=True,
        ),
        component(
            "monai.transforms.ScaleIntensityRangePercentilesd",
            _disabled_="$@clip_share is None",
            keys="image",
            lower="$100 * (@clip_share or 0)",
            upper="$100 - 100 * (@clip_share or 0)",
            b_min=0.0,
            b_max=1.0,
            clip=True,
            channel_wise=True,
        ),
        component(
            "monai.transforms.NormalizeIntensityd",
            _disabled_=f"$@clip_share is not None and {of_each}",
            keys="image",
            subtrahend=f"$None if {of_each} else [{mean_and_std}[0]] * @in_channels",
            divisor=f"$None if {of_each} else [{mean_and_std}[1]] * @in_channels",
            nonzero="$flemme_monai.utils.as_bool(@nonzero)",
            channel_wise=True,
        ),
        component(
            "flemme_monai.transforms.ResampleSpacingd",
            _disabled_=f"${NOT_RESAMPLED}{or_else}",
            keys=keys,
            spacing="@spacing",
            **labels,
        ),
    ]


def plain_tensors(keys: str | list[str] = "image") -> Config:
    """Tensors without meta data, which random transforms would trace."""
    return component("monai.transforms.EnsureTyped", keys=keys, track_meta=False)


def with_meta(keys: str | list[str]) -> Config:
    """Tensors with meta data, which metrics of files and :class:`monai.transforms.Invertd` read."""
    return component("monai.transforms.EnsureTyped", keys=keys, track_meta=True)


def resize() -> Config:
    """Bring an image to ``image_size``."""
    return component(
        "flemme_monai.transforms.ResizeImaged",
        keys="image",
        spatial_size="@image_size",
        spatial_dims="@spatial_dims",
    )


def flips(keys: str | list[str] = "image", axes: str | None = None) -> list[Config]:
    """Random flips along the first two axes, or along those that a setting has.

    Args:
        keys: what is flipped.
        axes: reference to the setting.
    """
    return [
        component(
            "monai.transforms.RandFlipd",
            **({} if axes is None else {"_disabled_": f"${axis} not in {axes} or @spatial_dims <= {axis}"}),
            keys=keys,
            prob="@augmentation#flip",
            spatial_axis=axis,
        )
        for axis in ((0, 1) if axes is None else (0, 1, 2))
    ]


def scale_intensity() -> Config:
    """A random factor on all intensities."""
    return component("monai.transforms.RandScaleIntensityd", keys="image", prob="@augmentation#intensity", factors=0.2)


def noise(deviation: float) -> Config:
    """Random Gaussian noise."""
    return component("monai.transforms.RandGaussianNoised", keys="image", prob="@augmentation#noise", std=deviation)


def rotate_and_zoom() -> list[Config]:
    """Random rotations and zooms of an image alone."""
    return [
        component(
            "monai.transforms.RandRotated",
            keys="image",
            prob="@augmentation#rotate",
            range_x=0.35,
            range_y=0.35,
            range_z=0.35,
            padding_mode="zeros",
        ),
        component(
            "monai.transforms.RandZoomd",
            keys="image",
            prob="@augmentation#scale",
            min_zoom=0.85,
            max_zoom=1.2,
            padding_mode="constant",
        ),
    ]


def elastic(keys: str | list[str], prob: str | float, padding_mode: str, **mode: list[str]) -> list[Config]:
    """Random elastic deformations, of which one is for images and one for volumes.

    Args:
        keys: what is deformed.
        prob: probability.
        padding_mode: of :class:`monai.transforms.Rand2DElasticd`.
        mode: ``mode=``, the interpolation of each key.
    """
    return [
        component(
            "monai.transforms.Rand2DElasticd",
            _disabled_="$@spatial_dims != 2",
            keys=keys,
            prob=prob,
            spacing=16,
            magnitude_range=[0.5, 2.0],
            **mode,
            padding_mode=padding_mode,
        ),
        component(
            "monai.transforms.Rand3DElasticd",
            _disabled_="$@spatial_dims != 3",
            keys=keys,
            prob=prob,
            sigma_range=[4, 6],
            magnitude_range=[50, 150],
            **mode,
            padding_mode=padding_mode,
        ),
    ]


def screen_photo(modes: list[str]) -> Config:
    """Random photographs of an image on a screen and the label as the camera sees it.

    Those of probability 0 are left out, here and in :func:`colours_and_blur`, so that the other random transforms draw
    the same numbers with and without them.

    Args:
        modes: of image and label.
    """
    return component(
        "flemme_monai.transforms.RandScreenPhotod",
        _disabled_="$not @augmentation#screen_photo",
        keys=BOTH,
        mode=modes,
        prob="@augmentation#screen_photo",
        retain_stats=True,
    )


def colours_and_blur() -> list[Config]:
    """Random colours, brightness, gamma and contrast within an image's own range, blur and a coarser grid."""
    return [
        component(
            "flemme_monai.transforms.RandHueSaturationd",
            _disabled_="$not (@augmentation#hue or @augmentation#saturation)",
            keys="image",
            hue_prob="@augmentation#hue",
            saturation_prob="@augmentation#saturation",
        ),
        component(
            "monai.transforms.RandAdjustContrastd",
            _disabled_="$not @augmentation#brightness",
            keys="image",
            prob="@augmentation#brightness",
            gamma=[0.6, 1.6],
        ),
        component(
            "monai.transforms.RandAdjustContrastd",
            _disabled_="$not @augmentation#gamma",
            keys="image",
            prob="@augmentation#gamma",
            gamma=[0.7, 1.5],
            retain_stats=True,
        ),
        component(
            "monai.transforms.RandScaleIntensityFixedMeand",
            _disabled_="$not @augmentation#contrast",
            keys="image",
            prob="@augmentation#contrast",
            factors="$[factor - 1 for factor in @augmentation#contrast_range]",
            preserve_range=True,
        ),
        component(
            "monai.transforms.RandGaussianSmoothd",
            _disabled_="$not @augmentation#blur",
            keys="image",
            prob="@augmentation#blur",
            sigma_x="@augmentation#blur_range",
            sigma_y="@augmentation#blur_range",
            sigma_z="@augmentation#blur_range",
        ),
        component(
            "monai.transforms.RandSimulateLowResolutiond",
            _disabled_="$not @augmentation#low_resolution",
            keys="image",
            prob="@augmentation#low_resolution",
            upsample_mode="$'bilinear' if @spatial_dims == 2 else 'trilinear'",
        ),
    ]


def segmentation_transforms(train: bool) -> Config:
    """From the files of a case to an image of mean 0 and deviation 1 and its label; augmented crops for training."""
    if not train:
        return compose(*load_segmentations())
    modes = ["bilinear", "nearest"]
    return compose(
        AS_VALIDATION,
        plain_tensors(BOTH),
        screen_photo(modes),
        component(
            "monai.transforms.ClassesToIndicesd",
            _disabled_="$@spatial_dims == 2 or not @foreground_share",
            keys="label",
            num_classes="$max(2, @num_classes)",  # of masks each is a class
            max_samples_per_class=10000,
        ),
        component(
            "flemme_monai.transforms.RandAffineCropd",
            keys=BOTH,
            roi_size="@image_size",
            spatial_dims="@spatial_dims",
            mode=modes,
            rotate_prob="@augmentation#rotate",
            rotate_range="@augmentation#rotate_range",
            zoom_prob="@augmentation#scale",
            min_zoom=0.85,
            max_zoom=1.2,
            elastic_prob="@augmentation#elastic",
            elastic=elastic(BOTH, 1.0, "border", mode=modes),
            foreground_share="@foreground_share",
        ),
        *flips(BOTH, axes="@augmentation#flip_axes"),
        *colours_and_blur(),
        scale_intensity(),
        component("monai.transforms.RandShiftIntensityd", keys="image", prob="@augmentation#intensity", offsets=0.2),
        noise(0.1),
        plain_tensors(BOTH),
    )


def classification_transforms(train: bool, label: bool = True) -> Config:
    """From the file of a case to an image of values in [0, 1] and ``image_size``, and its class.

    Args:
        train: augmented.
        label: with the class.
    """
    if train:
        return compose(
            AS_VALIDATION,
            plain_tensors(),
            *flips(),
            *rotate_and_zoom(),
            scale_intensity(),
            noise(0.05),
            plain_tensors(),
        )
    copy_label = component("monai.transforms.CopyItemsd", keys="class_label", names="label")
    return compose(
        *load_images(),
        *unit_range(),
        resize(),
        *([copy_label] if label else []),
    )


def unit_range() -> list[Config]:
    """Values in [0, 1]: of each image's own range, or of ``intensity_range``."""
    low_and_high = "(@intensity_range or (0.0, 1.0))"
    return [
        component("monai.transforms.ScaleIntensityd", _disabled_="$@intensity_range is not None", keys="image"),
        component(
            "monai.transforms.ScaleIntensityRanged",
            _disabled_="$@intensity_range is None",
            keys="image",
            a_min=f"${low_and_high}[0]",
            a_max=f"${low_and_high}[1]",
            b_min=0.0,
            b_max=1.0,
            clip=True,
        ),
    ]


def reconstruction_images(targets: bool = False) -> list[Config]:
    """From the file of a case to an image of values in [0, 1], enlarged to the grid of what it is restored to.

    Args:
        targets: with the channels of a given target behind its own.
    """
    enlarge = component(
        "flemme_monai.transforms.EnlargeImaged",
        _disabled_="$@upscale == 1",
        factor="@upscale",
        spatial_dims="@spatial_dims",
    )
    join = component(
        "flemme_monai.transforms.JoinTargetd",
        _disabled_=f"$not {GIVEN}",
        out_channels="@out_channels",
        spatial_dims="@spatial_dims",
        scale="@target_scale",
    )
    scale = component("monai.transforms.ScaleIntensityd", keys="image")
    return [*load_images(), scale, enlarge, *([join] if targets else [])]


def degrade(**seed: str) -> list[Config]:
    """Keep the image, or its given target, as the label, add a phantom's noise, and undersample k-space.

    Args:
        seed: ``seed=``, which fixes a case's mask.
    """
    return [
        component("flemme_monai.transforms.SplitTargetd", in_channels="@in_channels"),
        component("flemme_monai.transforms.AddNoised", keys="image"),
        component(
            "flemme_monai.transforms.UndersampleKspaced",
            _disabled_="$@degradation in ('none', 'given')",
            mask="@degradation",
            acceleration="@acceleration",
            center_fraction="@center_fraction",
            **seed,
        ),
    ]


def reconstruction_transforms(train: bool) -> Config:
    """From the file of a case to a degraded image and the image itself as its label; augmented crops for training."""
    if not train:
        return compose(*reconstruction_images(targets=True), *degrade(seed="@seed"))
    return compose(
        *reconstruction_images(targets=True),
        plain_tensors(),
        *flips(),
        *rotate_and_zoom(),
        *elastic("image", "@augmentation#elastic", "zeros"),
        scale_intensity(),
        *degrade(),
        noise(0.05),
        pad_to_size(),
        component("monai.transforms.RandSpatialCropd", keys=BOTH, roi_size="@image_size", random_size=False),
        plain_tensors(BOTH),
    )


def pad_to_size() -> Config:
    """Pad image and label to at least ``image_size``."""
    return component("monai.transforms.SpatialPadd", keys=BOTH, spatial_size="@image_size")


def generation_transforms(train: bool) -> Config:
    """From the file of a case to an image of values in [-1, 1] and ``image_size``; flipped for training."""
    if train:
        return compose(AS_VALIDATION, plain_tensors(), *flips(), plain_tensors())
    return compose(*load_images(), *unit_range(), to_symmetric_range(), resize())


def to_symmetric_range() -> Config:
    """Values in [0, 1] brought to [-1, 1]."""
    return component("monai.transforms.ScaleIntensityRanged", keys="image", a_min=0.0, a_max=1.0, b_min=-1.0, b_max=1.0)


def to_unit_range() -> Config:
    """Samples of values in [-1, 1] brought to [0, 1]."""
    return component(
        "monai.transforms.ScaleIntensityRanged",
        keys="pred",
        a_min=-1.0,
        a_max=1.0,
        b_min=0.0,
        b_max=1.0,
        clip=True,
    )


def invert(keys: str | list[str] = "pred", **allow_missing_keys: bool) -> Config:
    """Predictions brought back to the orientation of their images."""
    return component(
        "monai.transforms.Invertd", keys=keys, transform="@preprocessing", orig_keys="image", **allow_missing_keys
    )


def to_own_grid(preprocessing: str, *keys: str) -> Config:
    """What was resampled or cropped, or lies beside it, brought back to the grid of its file.

    Args:
        preprocessing: reference to the transforms that brought it there.
        keys: of predictions, images and labels; those that are missing are passed over.
    """
    return component(
        "monai.transforms.Invertd",
        _disabled_=f"${ON_OWN_GRID}",
        keys=list(keys),
        transform=preprocessing,
        orig_keys=["image" if key == "pred" else key for key in keys],
        allow_missing_keys=True,
    )


def keep_largest() -> Config:
    """Label maps without the smaller parts of the classes that the setting of that name has."""
    return component(
        "flemme_monai.transforms.KeepLargestd",
        _disabled_="$@keep_largest is None",
        keys="pred",
        labels="@keep_largest",
        num_classes="@num_classes",
        multi_label=f"${MULTI_LABEL}",
    )
