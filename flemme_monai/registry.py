"""The one table of families, encoders, networks from elsewhere and architectures.

The maker of bundles, benchmarks, tests, README and error texts derive from it; nothing else lists their names. A class
is named by its path, so that reading the table imports neither torch nor a network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CONNECTIONS = {"none": "plain", "skip": "U-shaped", "dense": "densely connected"}  # which earlier features a stage sees


@dataclass(frozen=True)
class _Row:
    """A class by its key, which is what the names of bundles are made of.

    Args:
        key: letters and digits in lower case.
        path: dotted path of the class.
        title: what it is, in words.
    """

    key: str
    path: str
    title: str

    @property
    def name(self) -> str:
        """The class's own name."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Family(_Row):
    """A family of blocks, and the encoder-decoders that are made of it.

    Args:
        kind: what its encoders are, such as "transformer".
        reference: the paper that its blocks are from.
        encoders: the class for each connection, in the family's own module or package; in lower case it is the key.
    """

    kind: str
    reference: str
    encoders: dict[str, str]


@dataclass(frozen=True)
class Encoder(_Row):
    """An encoder-decoder that is made of a family and a connection.

    Args:
        family: key of its family.
        connection: ``none``, ``skip`` or ``dense``.
    """

    family: str
    connection: str


@dataclass(frozen=True)
class Network(_Row):
    """A network from elsewhere behind the interface of the backbones.

    Args:
        reference: the paper that it is from.
        architectures: keys of those that it can serve.
        shipped: keys of those of which ``bundles/`` holds a bundle.
        deep_supervision: whether it can have side outputs that are supervised, as its bundles of segmentation have.
        settings: values of settings that its bundles have for others, by their names on the command line.
    """

    reference: str
    architectures: tuple[str, ...]
    shipped: tuple[str, ...] = ()
    deep_supervision: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Architecture(_Row):
    """The use of a backbone.

    Args:
        task: ``segmentation``, ``reconstruction``, ``classification`` or ``generation``.
        recipe: dotted path of the function that says what its bundles are made of.
        plain: whether it goes through the latent alone, so that its encoder must have no connections.
        hierarchical: whether it predicts at every level by default.
        planned: whether ``flemme-monai plan`` makes a bundle of it, where it segments.
    """

    task: str
    recipe: str
    plain: bool = False
    hierarchical: bool = False
    planned: bool = True


def _table(*rows: _Row) -> dict[str, Any]:
    return {row.key: row for row in rows}


FAMILIES: dict[str, Family] = _table(
    Family(
        "conv",
        "flemme_monai.backbones.ConvFamily",
        "convolutions",
        "convolutional",
        "Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015",
        {"none": "CNN", "skip": "UNet", "dense": "DNet"},
    ),
    Family(
        "vit",
        "flemme_monai.backbones.ViTFamily",
        "global attention",
        "transformer",
        "Dosovitskiy et al., An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale, ICLR 2021",
        {"none": "ViT", "skip": "ViTU", "dense": "ViTD"},
    ),
    Family(
        "swin",
        "flemme_monai.backbones.SwinFamily",
        "shifted windows",
        "shifted-window transformer",
        "Liu et al., Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, ICCV 2021",
        {"none": "Swin", "skip": "SwinU", "dense": "SwinD"},
    ),
    Family(
        "mamba",
        "flemme_monai.backbones.MambaFamily",
        "selective scans",
        "Vision Mamba",
        "Liu et al., VMamba: Visual State Space Model, NeurIPS 2024",
        {"none": "VMamba", "skip": "VMambaU", "dense": "VMambaD"},
    ),
    Family(
        "mednext",
        "flemme_monai.backbones.MedNeXtFamily",
        "inverted bottlenecks of convolutions",
        "MedNeXt",
        "Roy et al., MedNeXt: Transformer-driven Scaling of ConvNets for Medical Image Segmentation, MICCAI 2023",
        {"none": "MedNeXt", "skip": "MedNeXtU", "dense": "MedNeXtD"},
    ),
)

_FEATURES = ("sem", "hsem", "ae", "hae", "clm")  # what needs an output, a latent, and features for a pyramid
_DENOISERS = ("ddpm", "edm", "sdm", "dsem")  # what needs an output layer at the image's resolution too
_LATENT_ALONE = ("vae", "ldm")  # what needs a decoder that sees the latent alone

NETWORKS: dict[str, Network] = _table(
    # A
    Network(
        "classicunet",
        "flemme_monai.backbones.networks.ClassicUNet",
        "U-Net as published, padded and with norms",
        "Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "scsenet",
        "flemme_monai.backbones.networks.SCSENet",
        "U-Net with concurrent squeeze and excitation",
        "Roy et al., Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks, MICCAI 2018",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "simpleunet",
        "flemme_monai.backbones.networks.SimpleUNet",
        "JMedSeg's small U-Net, whose skips are multiplied",
        "JMedSeg: models of medical image segmentation in Jittor; no paper",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "attentionunet",
        "flemme_monai.backbones.networks.AttentionUNet",
        "U-Net whose skips pass attention gates",
        "Oktay et al., Attention U-Net: Learning Where to Look for the Pancreas, MIDL 2018",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "r2unet",
        "flemme_monai.backbones.networks.R2UNet",
        "U-Net of recurrent residual convolutions",
        "Alom et al., Recurrent residual U-Net for medical image segmentation, Journal of Medical Imaging 2019",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "r2attentionunet",
        "flemme_monai.backbones.networks.R2AttentionUNet",
        "U-Net of recurrent residual convolutions, whose skips pass attention gates",
        "Alom et al., Recurrent residual U-Net for medical image segmentation, Journal of Medical Imaging 2019; Oktay "
        "et al., Attention U-Net: Learning Where to Look for the Pancreas, MIDL 2018",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "unetpp",
        "flemme_monai.backbones.networks.UNetPlusPlus",
        "U-Net with nested, dense skips",
        "Zhou et al., UNet++: Redesigning Skip Connections to Exploit Multiscale Features, IEEE TMI 2020",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
        deep_supervision=True,
    ),
    Network(
        "unet3p",
        "flemme_monai.backbones.networks.UNet3Plus",
        "U-Net with full-scale skips",
        "Huang et al., UNet 3+: A Full-Scale Connected UNet for Medical Image Segmentation, ICASSP 2020",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
        deep_supervision=True,
    ),
    Network(
        "multiresunet",
        "flemme_monai.backbones.networks.MultiResUNet",
        "U-Net of multi-resolution blocks and residual paths",
        "Ibtehaz and Rahman, MultiResUNet: Rethinking the U-Net Architecture for Multimodal Biomedical Image "
        "Segmentation, Neural Networks 2020",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "csnet",
        "flemme_monai.backbones.networks.CSNet",
        "residual U-Net with attention among positions and among channels",
        "Mou et al., CS-Net: Channel and Spatial Attention Network for Curvilinear Structure Segmentation, MICCAI 2019",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "unext",
        "flemme_monai.backbones.networks.UNeXt",
        "small U-Net of convolutions and shifted MLPs",
        "Valanarasu and Patel, UNeXt: MLP-based Rapid Medical Image Segmentation Network, MICCAI 2022",
        _FEATURES,
        ("sem", "hsem"),
    ),
    # B
    Network(
        "segnet",
        "flemme_monai.backbones.networks.SegNet",
        "VGG16 and its mirror image, which unpools where the encoder pooled",
        "Badrinarayanan et al., SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation, "
        "TPAMI 2017",
        (*_FEATURES, *_DENOISERS),
        ("sem",),
    ),
    Network(
        "ternausnet",
        "flemme_monai.backbones.networks.TernausNet",
        "U-Net whose encoder is VGG11 or VGG16",
        "Iglovikov, Shvets, TernausNet: U-Net with VGG11 Encoder Pre-Trained on ImageNet for Image Segmentation, "
        "arXiv 1801.05746, 2018",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "u2net",
        "flemme_monai.backbones.networks.U2Net",
        "a U of residual U-blocks",
        "Qin et al., U2-Net: Going Deeper with Nested U-Structure for Salient Object Detection, Pattern Recognition "
        "2020",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
        deep_supervision=True,
    ),
    Network(
        "u2netsmall",
        "flemme_monai.backbones.networks.U2NetSmall",
        "a U of residual U-blocks, small",
        "Qin et al., U2-Net: Going Deeper with Nested U-Structure for Salient Object Detection, Pattern Recognition "
        "2020",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
        deep_supervision=True,
    ),
    Network(
        "hardnet",
        "flemme_monai.backbones.networks.HarDNetMSEG",
        "receptive field blocks and a partial decoder on HarDNet-68",
        "Huang, Wu, Lin, HarDNet-MSEG: A Simple Encoder-Decoder Polyp Segmentation Neural Network that Achieves over "
        "0.9 Mean Dice and 86 FPS, arXiv 2101.07172, 2021",
        _FEATURES,
        ("sem", "hsem"),
    ),
    Network(
        "hardnetalter",
        "flemme_monai.backbones.networks.HarDNetAlter",
        "the same, with features at a quarter of the image's size",
        "Huang, Wu, Lin, HarDNet-MSEG: A Simple Encoder-Decoder Polyp Segmentation Neural Network that Achieves over "
        "0.9 Mean Dice and 86 FPS, arXiv 2101.07172, 2021",
        _FEATURES,
        ("sem", "hsem"),
    ),
    Network(
        "denseunet",
        "flemme_monai.backbones.networks.DenseUNet",
        "DenseNet-161 whose features a decoder adds",
        "Li et al., H-DenseUNet: Hybrid Densely Connected UNet for Liver and Tumor Segmentation From CT Volumes, TMI "
        "2018",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "hrnet",
        "flemme_monai.backbones.networks.HRNet",
        "branches at four resolutions that exchange their features",
        "Wang et al., Deep High-Resolution Representation Learning for Visual Recognition, TPAMI 2020",
        _FEATURES,
        ("sem", "hsem"),
    ),
    # C
    Network(
        "deeplabv2",
        "flemme_monai.backbones.networks.DeepLabV2",
        "dilated ResNet, four dilated convolutions summed",
        "Chen et al., DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully "
        "Connected CRFs, TPAMI 2018",
        (*_FEATURES, *_LATENT_ALONE),
        ("sem",),
    ),
    Network(
        "deeplabv3plus",
        "flemme_monai.backbones.networks.DeepLabV3Plus",
        "dilated ResNet, atrous spatial pyramid pooling, refined by an early feature",
        "Chen et al., Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation, ECCV 2018",
        _FEATURES,
        ("sem",),
    ),
    Network(
        "pspnet",
        "flemme_monai.backbones.networks.PSPNet",
        "dilated ResNet, means over grids of several sizes",
        "Zhao et al., Pyramid Scene Parsing Network, CVPR 2017",
        (*_FEATURES, *_LATENT_ALONE),
        ("sem",),
        deep_supervision=True,
    ),
    Network(
        "danet",
        "flemme_monai.backbones.networks.DANet",
        "dilated ResNet, attention among positions and among channels",
        "Fu et al., Dual Attention Network for Scene Segmentation, CVPR 2019",
        (*_FEATURES, *_LATENT_ALONE),
        ("sem",),
        deep_supervision=True,
    ),
    Network(
        "ocnet",
        "flemme_monai.backbones.networks.OCNet",
        "dilated ResNet, attention among positions of the same object",
        "Yuan et al., OCNet: Object Context for Semantic Segmentation, IJCV 2021",
        (*_FEATURES, *_LATENT_ALONE),
        ("sem",),
        deep_supervision=True,
    ),
    Network(
        "ocrnet",
        "flemme_monai.backbones.networks.OCRNet",
        "dilated ResNet, attention to soft regions of the classes",
        "Yuan, Chen and Wang, Object-Contextual Representations for Semantic Segmentation, ECCV 2020",
        _FEATURES,
        ("sem",),
        deep_supervision=True,
    ),
    Network(
        "eanet",
        "flemme_monai.backbones.networks.EANet",
        "dilated ResNet, external attention",
        "Guo et al., Beyond Self-attention: External Attention using Two Linear Layers for Visual Tasks, TPAMI 2023",
        (*_FEATURES, *_LATENT_ALONE),
        ("sem",),
    ),
    Network(
        "resunet",
        "flemme_monai.backbones.networks.ResUNet",
        "U-Net on three stages of a ResNet",
        "JMedSeg: models of medical image segmentation in Jittor; no paper. He et al., Deep Residual Learning for "
        "Image Recognition, CVPR 2016",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "dlinknet",
        "flemme_monai.backbones.networks.DLinkNet",
        "LinkNet on a ResNet, a cascade of dilated convolutions between",
        "Zhou, Zhang and Wu, D-LinkNet: LinkNet with Pretrained Encoder and Dilated Convolution for High Resolution "
        "Satellite Imagery Road Extraction, CVPR workshops 2018",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "cenet",
        "flemme_monai.backbones.networks.CENet",
        "LinkNet on a ResNet, dense atrous convolutions and pooling of several kernels between",
        "Gu et al., CE-Net: Context Encoder Network for 2D Medical Image Segmentation, TMI 2019",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    # D
    Network(
        "onenet",
        "flemme_monai.backbones.networks.OneNet",
        "shift-group convolutions at a quarter of the resolution, features concatenated",
        "THU-CVLab, JMedSeg, https://github.com/THU-CVlab/JMedSeg, 2021 (code, no paper)",
        (*_FEATURES, *_DENOISERS, *_LATENT_ALONE),
        ("sem",),
    ),
    Network(
        "lightnet",
        "flemme_monai.backbones.networks.LightNet",
        "shift-group convolutions at a quarter of the resolution, features multiplied",
        "THU-CVLab, JMedSeg, https://github.com/THU-CVlab/JMedSeg, 2021 (code, no paper)",
        (*_FEATURES, *_DENOISERS, *_LATENT_ALONE),
        ("sem",),
    ),
    Network(
        "lrfeanet",
        "flemme_monai.backbones.networks.LRFEANet",
        "large receptive fields and external attention",
        "THU-CVLab, JMedSeg, https://github.com/THU-CVlab/JMedSeg, 2021 (code, no paper)",
        (*_FEATURES, *_LATENT_ALONE),
        ("sem",),
    ),
    Network(
        "mepdnet",
        "flemme_monai.backbones.networks.MEPDNet",
        "a slice beside its two neighbours, selected by channel",
        "Shi et al., Multi-Encoder Parse-Decoder Network for Sequential Medical Image Segmentation, ICIP 2021",
        _FEATURES,
        ("sem",),
        settings={"in_channels": 3},
    ),
    Network(
        "setr",
        "flemme_monai.backbones.networks.SETR",
        "a Vision Transformer with progressive upsampling",
        "Zheng et al., Rethinking Semantic Segmentation from a Sequence-to-Sequence Perspective with Transformers, "
        "CVPR 2021",
        (*_FEATURES, *_LATENT_ALONE),
        ("sem", "hsem"),
        deep_supervision=True,
    ),
    Network(
        "transunet",
        "flemme_monai.backbones.networks.TransUNet",
        "a ResNet, a Vision Transformer on its feature, and a U-Net's decoder",
        "Chen et al., TransUNet: Transformers Make Strong Encoders for Medical Image Segmentation, arXiv 2102.04306, "
        "2021",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "segformer",
        "flemme_monai.backbones.networks.SegFormer",
        "a Mix Transformer under a head of linear maps",
        "Xie et al., SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers, NeurIPS 2021",
        _FEATURES,
        ("sem", "hsem"),
    ),
    Network(
        "fancyunet",
        "flemme_monai.backbones.networks.FancyUNet",
        "densely connected U-Net of the gastrointestinal tract study",
        "FancyUNet: a study of convolutions and transformers on the UW-Madison GI tract images; no paper",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    # E
    Network(
        "nnunet",
        "flemme_monai.backbones.networks.PlainConvUNet",
        "nnU-Net's plain network, with strides and kernels per axis",
        "Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation, "
        "Nature Methods 2021",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
        deep_supervision=True,
    ),
    Network(
        "resenc",
        "flemme_monai.backbones.networks.ResEncUNet",
        "nnU-Net's network with a residual encoder",
        "Isensee et al., nnU-Net Revisited: A Call for Rigorous Validation in 3D Medical Image Segmentation, "
        "MICCAI 2024",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
        deep_supervision=True,
    ),
    Network(
        "segresnet",
        "flemme_monai.backbones.networks.SegResNet",
        "MONAI's SegResNet",
        "Myronenko, 3D MRI Brain Tumor Segmentation Using Autoencoder Regularization, BrainLes 2018",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
    Network(
        "unetr",
        "flemme_monai.backbones.networks.UNETR",
        "MONAI's UNETR: a Vision Transformer with a convolutional decoder",
        "Hatamizadeh et al., UNETR: Transformers for 3D Medical Image Segmentation, WACV 2022",
        (*_FEATURES, *_DENOISERS),
        ("sem", "hsem"),
    ),
)

ARCHITECTURES: dict[str, Architecture] = _table(
    Architecture(
        "sem",
        "flemme_monai.architectures.SeM",
        "segmentation",
        "segmentation",
        "flemme_monai.recipes.segmentation.sem",
    ),
    Architecture(
        "hsem",
        "flemme_monai.architectures.HSeM",
        "hierarchical segmentation: predicts at the latent and at every decoder stage, and fuses",
        "segmentation",
        "flemme_monai.recipes.segmentation.hsem",
        hierarchical=True,
    ),
    Architecture(
        "ae",
        "flemme_monai.architectures.AE",
        "auto-encoding, reconstruction",
        "reconstruction",
        "flemme_monai.recipes.reconstruction.ae",
    ),
    Architecture(
        "hae",
        "flemme_monai.architectures.HAE",
        "the same, hierarchical",
        "reconstruction",
        "flemme_monai.recipes.reconstruction.hae",
        hierarchical=True,
    ),
    Architecture(
        "clm",
        "flemme_monai.architectures.ClM",
        "classification, by the encoder",
        "classification",
        "flemme_monai.recipes.classification.clm",
        plain=True,
    ),
    Architecture(
        "vae",
        "flemme_monai.architectures.VAE",
        "variational auto-encoding",
        "generation",
        "flemme_monai.recipes.variational.vae",
        plain=True,
    ),
    Architecture(
        "ddpm",
        "flemme_monai.architectures.DDPM",
        "generation by denoising diffusion, sampled by DDPM, DDIM or PNDM in any number of steps",
        "generation",
        "flemme_monai.recipes.diffusion.ddpm",
    ),
    Architecture(
        "edm",
        "flemme_monai.architectures.EDM",
        "generation by a preconditioned denoiser, sampled by Heun steps",
        "generation",
        "flemme_monai.recipes.diffusion.edm",
    ),
    Architecture(
        "sdm",
        "flemme_monai.architectures.SDM",
        "reconstruction by diffusion under the degraded image, with an uncertainty map",
        "reconstruction",
        "flemme_monai.recipes.supervised.sdm",
    ),
    Architecture(
        "dsem",
        "flemme_monai.architectures.DSeM",
        "segmentation by diffusion under the image, with an uncertainty map",
        "segmentation",
        "flemme_monai.recipes.segmentation_diffusion.dsem",
        planned=False,
    ),
    Architecture(
        "ldm",
        "flemme_monai.architectures.LDM",
        "generation by diffusion in the latents of an autoencoder",
        "generation",
        "flemme_monai.recipes.latent.ldm",
        plain=True,
    ),
)

ENCODERS: dict[str, Encoder] = _table(
    *(
        Encoder(
            key=name.lower(),
            path=f"{family.path.rpartition('.')[0]}.{name}",
            title=f"{CONNECTIONS[connection]} {family.kind}",
            family=family.key,
            connection=connection,
        )
        for family in FAMILIES.values()
        for connection, name in family.encoders.items()
    )
)


def backbone(key: str) -> Encoder | Network:
    """The row of an encoder or of a network from elsewhere."""
    return ENCODERS[key] if key in ENCODERS else NETWORKS[key]


def encoder_path(name: str) -> str:
    """The dotted path of the backbone whose encoder a setting names.

    Args:
        name: its key, in letters of either case.

    Raises:
        ValueError: If there is none.
    """
    key = name.lower()
    if key not in (*ENCODERS, *NETWORKS):
        from .utils.errors import did_you_mean  # imports torch, as listing the pairs need not

        hint = did_you_mean(key, [*ENCODERS, *NETWORKS])
        raise ValueError(f"condition_encoder is {name!r}; expected an encoder or network by its key: {hint}")
    return backbone(key).path


def reference(key: str) -> str:
    """The paper that an encoder or a network from elsewhere is from."""
    row = backbone(key)
    return FAMILIES[row.family].reference if isinstance(row, Encoder) else row.reference


def serves(key: str, architecture: str) -> bool:
    """Whether an encoder or a network from elsewhere can be the backbone of an architecture; both by key."""
    row = backbone(key)
    if isinstance(row, Encoder):
        return row.connection == "none" or not ARCHITECTURES[architecture].plain
    return architecture in row.architectures


def encoders_of(connection: str) -> tuple[str, ...]:
    """The keys of the encoders of a connection."""
    return tuple(row.key for row in ENCODERS.values() if row.connection == connection)


def pairs(shipped: bool = False) -> tuple[str, ...]:
    """The pairs ``<architecture>_<backbone>`` of which a bundle can be made.

    Args:
        shipped: only those that ``bundles/`` holds: every encoder's, and of a network from elsewhere some.
    """
    return tuple(
        f"{architecture}_{key}"
        for architecture in ARCHITECTURES
        for key in (*ENCODERS, *NETWORKS)
        if serves(key, architecture) and (not shipped or key in ENCODERS or architecture in NETWORKS[key].shipped)
    )
