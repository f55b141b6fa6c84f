"""torchvision's own figures for its weight entries, which no peer reproduces without running them.

`_ops` is MACs / 1e9 with three decimals: convolutions and matrix products, attention's included; no
biases, norms, pools or other elementwise work. Classification counts at the entry's own crop, video at 16
frames of it, segmentation at 520 pixels, optical flow at 512.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torchvision")

from entries import build, inputs

from archlab.errors import TraceError
from archlab.ops import Unknown
from archlab.profiles import profile_graph
from archlab.pytorch.trace import trace

FACTS: dict[str, Any] = json.loads((Path(__file__).parent / "oracles" / "torchvision_ops.json").read_text())

DETECTION = tuple(name for name in FACTS if name.startswith(("faster", "fcos", "keypoint", "mask", "retina", "ssd")))
"""Boxes are chosen by scores, which a trace does not have: how many there are decides the heads' work."""

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
]


def entries() -> list[Any]:
    """All entries, most of them only where slow tests run."""
    counted = [name for name in FACTS if name not in DETECTION]
    return [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.slow) for name in counted]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("entry", entries())
def test_an_entry_has_the_params_and_the_macs_that_torchvision_prints(entry: str) -> None:
    facts = FACTS[entry]
    graph = trace(build(entry), *inputs(entry, facts))
    profile = profile_graph(graph)
    counts = profile.parameters
    assert counts["read"] + counts["unused"] == facts["num_params"]
    assert round(profile.total.macs / 1e9, 3) == facts["ops"]
    assert not [node.name for node in graph.nodes if isinstance(node.op, Unknown)]


def test_no_more_than_the_thirteen_detection_entries_are_excused() -> None:
    assert len(FACTS) == 166
    assert len(DETECTION) == 13


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("entry", ["fasterrcnn_mobilenet_v3_large_320_fpn:COCO_V1", "ssd300_vgg16:COCO_V1"])
def test_a_detector_fails_where_boxes_are_chosen_and_shows_what_ran_before(entry: str) -> None:
    model = build(entry)
    with pytest.raises(TraceError, match="elements") as caught:
        trace(model, *inputs(entry, FACTS[entry]))
    partial = caught.value.partial
    assert partial is not None
    assert profile_graph(partial).total.macs > 0.5 * FACTS[entry]["ops"] * 1e9
