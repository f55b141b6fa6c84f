"""torchvision's own figures for its weight entries, which no peer reproduces without running them.

`_ops` is MACs / 1e9 with three decimals: convolutions and matrix products, attention's included; no
biases, norms, pools or other elementwise work. Classification counts at the entry's own crop, video at 16
frames of it, segmentation at 520 pixels, detection and optical flow at 512. Detectors were counted with their
weights on an image of noise; where none of its scores passes a threshold, the heads behind ran for no box.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("torchvision")

import torchvision

import archlab
from archlab.profiles import profile_graph
from archlab.pytorch.models import torchvision_model
from archlab.pytorch.trace import trace

FACTS: dict[str, Any] = json.loads((Path(__file__).parent / "oracles" / "torchvision_ops.json").read_text())

# What noise leaves of the boxes that a trace takes for kept, and the MACs that a head does for one of them.
# Two linear layers of 1,024 read 7·7 positions of the pyramid's 256 channels; then 91 classes and their boxes.
BOX_HEAD = 7 * 7 * 256 * 1024 + 1024 * 1024 + 1024 * (91 + 91 * 4)
# Four convolutions 3×3 of 256 at 14×14, a transposed one 2×2, and a mask a class at 28×28.
MASK_HEAD = 14 * 14 * (4 * 256 * 256 * 9 + 256 * 256 * 4) + 28 * 28 * 256 * 91
# Eight convolutions 3×3 of 512 at 14×14, the first of 256, and 17 transposed ones 4×4.
KEYPOINT_HEAD = 14 * 14 * (256 * 512 * 9 + 7 * 512 * 512 * 9 + 512 * 17 * 16)
KEPT: dict[str, tuple[int, int]] = {
    "fasterrcnn_mobilenet_v3_large_320_fpn:COCO_V1": (150, BOX_HEAD),  # no proposal scores 0.05
    "fasterrcnn_mobilenet_v3_large_fpn:COCO_V1": (1000, BOX_HEAD),  # no proposal scores 0.05
    "maskrcnn_resnet50_fpn:COCO_V1": (100, MASK_HEAD),  # no detection scores 0.05
    "keypointrcnn_resnet50_fpn:COCO_LEGACY": (100, KEYPOINT_HEAD),  # no detection scores 0.05
    "keypointrcnn_resnet50_fpn:COCO_V1": (99, KEYPOINT_HEAD),  # one detection does
}
"""Entries whose figure rests on what their weights find in noise: how many boxes too many, and what one takes."""

DETECTION = tuple(name for name in FACTS if name.startswith(("faster", "fcos", "keypoint", "mask", "retina", "ssd")))

SAMPLE = [
    "alexnet:IMAGENET1K_V1",
    "convnext_tiny:IMAGENET1K_V1",
    "densenet121:IMAGENET1K_V1",
    "efficientnet_b0:IMAGENET1K_V1",
    "efficientnet_v2_s:IMAGENET1K_V1",
    "googlenet:IMAGENET1K_V1",
    "inception_v3:IMAGENET1K_V1",
    "maxvit_t:IMAGENET1K_V1",
    "mnasnet0_5:IMAGENET1K_V1",
    "mobilenet_v2:IMAGENET1K_V1",
    "mobilenet_v3_large:IMAGENET1K_V1",
    "regnet_y_400mf:IMAGENET1K_V1",
    "resnet18:IMAGENET1K_V1",
    "resnet50:IMAGENET1K_V2",
    "resnext50_32x4d:IMAGENET1K_V1",
    "shufflenet_v2_x1_0:IMAGENET1K_V1",
    "squeezenet1_1:IMAGENET1K_V1",
    "swin_t:IMAGENET1K_V1",
    "swin_v2_t:IMAGENET1K_V1",
    "vgg11_bn:IMAGENET1K_V1",
    "vit_b_16:IMAGENET1K_V1",
    "vit_h_14:IMAGENET1K_SWAG_E2E_V1",
    "wide_resnet50_2:IMAGENET1K_V1",
    "quantized_googlenet:IMAGENET1K_FBGEMM_V1",
    "fcn_resnet50:COCO_WITH_VOC_LABELS_V1",
    "deeplabv3_mobilenet_v3_large:COCO_WITH_VOC_LABELS_V1",
    "lraspp_mobilenet_v3_large:COCO_WITH_VOC_LABELS_V1",
    "mvit_v2_s:KINETICS400_V1",
    "r2plus1d_18:KINETICS400_V1",
    "s3d:KINETICS400_V1",
    "swin3d_t:KINETICS400_V1",
    "raft_small:C_T_V1",
    "fasterrcnn_resnet50_fpn:COCO_V1",
    "fasterrcnn_mobilenet_v3_large_320_fpn:COCO_V1",
    "fcos_resnet50_fpn:COCO_V1",
    "keypointrcnn_resnet50_fpn:COCO_V1",
    "maskrcnn_resnet50_fpn:COCO_V1",
    "retinanet_resnet50_fpn_v2:COCO_V1",
    "ssdlite320_mobilenet_v3_large:COCO_V1",
]


def entries() -> list[Any]:
    """All entries, most of them only where slow tests run."""
    return [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.slow) for name in FACTS]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("entry", entries())
def test_an_entry_has_the_params_and_the_macs_that_torchvision_prints(entry: str) -> None:
    facts = FACTS[entry]
    model, (args, kwargs) = torchvision_model(entry, {})
    graph = trace(model, *args, **kwargs)
    profile = profile_graph(graph)
    counts = profile.parameters
    assert counts["read"] + counts["unused"] == facts["num_params"]
    boxes, each = KEPT.get(entry, (0, 0))
    assert round((profile.total.macs - boxes * each) / 1e9, 3) == facts["ops"]
    assert profile.uncounted == {}
    assert bool(profile.assumed) == (entry in DETECTION)


def test_the_entries_whose_figure_rests_on_their_weights_are_detectors() -> None:
    assert len(FACTS) == 166
    assert len(DETECTION) == 13
    assert KEPT.keys() < set(DETECTION)


@pytest.mark.filterwarnings("ignore")
def test_a_detector_says_what_it_rests_on() -> None:
    profile = archlab.profile("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn")
    assert profile.assumed == {
        "a condition on data holds everywhere": 4,  # size and score of the proposals, and of the detections
        "non-maximum suppression keeps every box": 2,  # of the proposals, and of the detections of all classes
        "data that is compared with numbers equals the first of them": 2,  # the levels of the pyramid
    }
    assert archlab.profile("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn@320x480").input["input"].shape == (
        3,
        320,
        480,
    )


@pytest.mark.filterwarnings("ignore")
def test_building_a_detector_as_with_weights_leaves_loading_as_it_was() -> None:
    before = torch.nn.Module.load_state_dict, torchvision.models.WeightsEnum.get_state_dict
    model, _ = torchvision_model("fcos_resnet50_fpn", {})
    assert (torch.nn.Module.load_state_dict, torchvision.models.WeightsEnum.get_state_dict) == before
    assert sum(p.requires_grad for p in model.backbone.parameters()) > 0
    assert "FrozenBatchNorm2d" in {type(module).__name__ for module in model.modules()}
