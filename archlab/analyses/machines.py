"""The table of well-known accelerators and CPUs: peak rates without sparsity, bandwidth, memory, and who says so.

A figure that no vendor's document gives is left out. Accelerators have the rates of their data sheets,
at the boost clock that those assume. CPUs have cores · boost clock · FLOPs a cycle, with every core at the
highest clock that the vendor names: none runs so for long, but a bound has to hold. Their bandwidth is
that of all memory channels at the fastest memory that is supported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archlab.analyses.hardware import Hardware

_HALVED = "; figures with sparsity halved"
_A100 = "NVIDIA A100 Tensor Core GPU, data sheet, June 2021"
_H100 = f"NVIDIA H100 Tensor Core GPU, data sheet, July 2023{_HALVED}"
_H200 = f"NVIDIA H200 Tensor Core GPU, data sheet, November 2023{_HALVED}"
_B200 = "NVIDIA Blackwell Architecture Technical Brief, March 2024: HGX B200, dense figures"
_V100 = "NVIDIA V100 Tensor Core GPU, data sheet, January 2020"
_FP32 = "tensor rates with FP32 accumulation"
_GA102 = f"NVIDIA Ampere GA102 GPU Architecture, white paper v2.0, 2021, appendix A; {_FP32}"
_ADA = f"NVIDIA Ada GPU Architecture, white paper v2.1, 2023, appendix A; {_FP32}"
_BLACKWELL = f"NVIDIA RTX Blackwell GPU Architecture, white paper v1.1, 2025, table 3; {_FP32}"
_TPU = "Google Cloud documentation, page TPU {}, as of 2026"
_M1 = "Apple, event and newsroom, 18 October 2021"
_ZEN3 = "FMA by the Software Optimization Guide for AMD Family 19h, 2020"
_ZEN4 = "FMA by the Software Optimization Guide for AMD Zen 4, 2023"


def _device(
    kind: str, title: str, source: str, bandwidth: float, memory: float, vector: Any, **rates: float
) -> Hardware:
    """Return a row; rates are in TFLOP/s, the bandwidth in GB/s, the memory in GB."""
    exact = {dtype: round(rate * 1000) * 10**9 for dtype, rate in rates.items()}
    whole = None if vector is None else round(vector * 1000) * 10**9
    return Hardware("", title, kind, exact, whole, round(bandwidth * 1000) * 10**6, round(memory * 10**9), source)


def _cpu(
    title: str, source: str, cores: int, mhz: int, bits: int, mega_transfers: int, memory: int, **cycle: int
) -> Hardware:
    """Return a row of a CPU in one socket: `bits` are its memory lines, `memory` GB, `cycle` FLOPs a core."""
    rates = {dtype: cores * mhz * 10**6 * flops for dtype, flops in cycle.items()}
    bandwidth = bits // 8 * mega_transfers * 10**6
    per_cycle = f"{cores} cores · {mhz / 1000:g} GHz · {cycle['float32']} float32 FLOPs"
    return Hardware("", title, "CPU", rates, rates["float32"], bandwidth, memory * 10**9, f"{source}; {per_cycle}")


MACHINES: Mapping[str, Hardware] = {
    "a100-80gb": _device(
        "GPU", "NVIDIA A100 80 GB SXM", _A100, 2039, 80, 19.5,
        float64=19.5, float32=19.5, tfloat32=156, float16=312, bfloat16=312, int8=624,
    ),
    "a100-80gb-pcie": _device(
        "GPU", "NVIDIA A100 80 GB PCIe", _A100, 1935, 80, 19.5,
        float64=19.5, float32=19.5, tfloat32=156, float16=312, bfloat16=312, int8=624,
    ),
    "a100-40gb": _device(
        "GPU", "NVIDIA A100 40 GB", "NVIDIA A100 Tensor Core GPU Architecture, white paper v1.0, 2020",
        1555, 40, 19.5,
        float64=19.5, float32=19.5, tfloat32=156, float16=312, bfloat16=312, int8=624,
    ),
    "h100-sxm": _device(
        "GPU", "NVIDIA H100 SXM 80 GB", _H100, 3350, 80, 67,
        float64=67, float32=67, tfloat32=494.5, float16=989.5, bfloat16=989.5, float8=1979, int8=1979,
    ),
    "h100-pcie": _device(
        "GPU", "NVIDIA H100 PCIe 80 GB", _H100, 2000, 80, 51,
        float64=51, float32=51, tfloat32=378, float16=756.5, bfloat16=756.5, float8=1513, int8=1513,
    ),
    "h200": _device(
        "GPU", "NVIDIA H200 SXM 141 GB", _H200, 4800, 141, 67,
        float64=67, float32=67, tfloat32=494.5, float16=989.5, bfloat16=989.5, float8=1979, int8=1979,
    ),
    "b200": _device(
        "GPU", "NVIDIA B200 192 GB", _B200, 8000, 192, 80,
        float64=40, float32=80, tfloat32=1100, float16=2250, bfloat16=2250, float8=4500, int8=4500,
    ),
    "l4": _device(
        "GPU", "NVIDIA L4 24 GB", f"NVIDIA L4 Tensor Core GPU, data sheet, March 2023{_HALVED}", 300, 24, 30.3,
        float32=30.3, tfloat32=60, float16=121, bfloat16=121, float8=242.5, int8=242.5,
    ),
    "l40s": _device(
        "GPU", "NVIDIA L40S 48 GB", "NVIDIA L40S GPU, data sheet, 2023", 864, 48, 91.6,
        float32=91.6, tfloat32=183, float16=362.05, bfloat16=362.05, float8=733, int8=733,
    ),
    "t4": _device(
        "GPU", "NVIDIA T4 16 GB", "NVIDIA T4 Tensor Core GPU, data sheet, March 2019", 320, 16, 8.1,
        float32=8.1, float16=65, int8=130,
    ),
    "v100-sxm2": _device(
        "GPU", "NVIDIA V100 SXM2 32 GB", _V100, 900, 32, 15.7, float64=7.8, float32=15.7, float16=125
    ),
    "v100-pcie": _device("GPU", "NVIDIA V100 PCIe 32 GB", _V100, 900, 32, 14, float64=7, float32=14, float16=112),
    "rtx3090": _device(
        "GPU", "NVIDIA GeForce RTX 3090 24 GB", _GA102, 936, 24, 35.6,
        float32=35.6, tfloat32=35.6, float16=71.2, bfloat16=71.2, int8=284,
    ),
    "rtx4090": _device(
        "GPU", "NVIDIA GeForce RTX 4090 24 GB", _ADA, 1008, 24, 82.6,
        float32=82.6, tfloat32=82.6, float16=165.2, bfloat16=165.2, float8=330.3, int8=660.6,
    ),
    "rtx5090": _device(
        "GPU", "NVIDIA GeForce RTX 5090 32 GB", _BLACKWELL, 1792, 32, 104.8,
        float32=104.8, tfloat32=104.8, float16=209.5, bfloat16=209.5, float8=419, int8=838,
    ),
    "orin": _device(
        "GPU", "NVIDIA Jetson AGX Orin 64 GB, its GPU",
        "NVIDIA Jetson AGX Orin Series, data sheet DS-10662-001 v1.2, 2022; figures with sparsity halved, no DLA",
        204.8, 64, 5.3, float32=5.3, float16=42.6, int8=85,
    ),
    "mi250x": _device(
        "GPU", "AMD Instinct MI250X 128 GB, both dies", "AMD Instinct MI250X Accelerator, data sheet, November 2021",
        3276.8, 128, 47.9, float64=95.7, float32=95.7, float16=383, bfloat16=383, int8=383,
    ),
    "mi300x": _device(
        "GPU", "AMD Instinct MI300X 192 GB",
        "ROCm documentation, MI300 series microarchitecture, table of the MI300X's peak performance, 2024",
        5300, 192, 163.4,
        float64=163.4, float32=163.4, tfloat32=653.7, float16=1307.4, bfloat16=1307.4, float8=2614.9, int8=2614.9,
    ),
    "tpu-v4": _device(
        "TPU", "Google TPU v4, one chip of 32 GiB", _TPU.format("v4"), 1200, 34.359738368, None,
        bfloat16=275, int8=275,
    ),
    "tpu-v5e": _device(
        "TPU", "Google TPU v5e, one chip of 16 GB", _TPU.format("v5e"), 819, 16, None, bfloat16=197, int8=393
    ),
    "tpu-v5p": _device("TPU", "Google TPU v5p, one chip of 95 GB", _TPU.format("v5p"), 2765, 95, None, bfloat16=459),
    "tpu-v6e": _device(
        "TPU", "Google TPU v6e, one chip of 32 GB", _TPU.format("v6e"), 1638, 32, None, bfloat16=918, int8=1836
    ),
    "m1": _device(
        "GPU", "Apple M1, its GPU", "Apple newsroom, 10 November 2020; 128 bits of LPDDR4X-4266", 68.256, 16, 2.6,
        float32=2.6,
    ),
    "m1-pro": _device("GPU", "Apple M1 Pro, its GPU", _M1, 200, 32, 5.2, float32=5.2),
    "m1-max": _device("GPU", "Apple M1 Max, its GPU", _M1, 400, 64, 10.4, float32=10.4),
    "xeon-8480": _cpu(
        "Intel Xeon Platinum 8480+, one socket",
        "Intel ARK, Xeon Platinum 8480+, 2023; two AVX-512 FMA units; AMX by Intel Architecture Day 2021",
        cores=56, mhz=3800, bits=8 * 64, mega_transfers=4800, memory=4000,
        float64=32, float32=64, bfloat16=1024, int8=2048,
    ),
    "epyc-7763": _cpu(
        "AMD EPYC 7763, one socket", f"AMD EPYC 7003 Series, data sheet, 2021; {_ZEN3}",
        cores=64, mhz=3500, bits=8 * 64, mega_transfers=3200, memory=4000, float64=16, float32=32,
    ),
    "epyc-9654": _cpu(
        "AMD EPYC 9654, one socket", f"AMD EPYC 9004 Series, data sheet, 2022; {_ZEN4}",
        cores=96, mhz=3700, bits=12 * 64, mega_transfers=4800, memory=6000, float64=16, float32=32,
    ),
    "ryzen-7950x": _cpu(
        "AMD Ryzen 9 7950X", f"AMD, product page of the Ryzen 9 7950X, 2022; {_ZEN4}",
        cores=16, mhz=5700, bits=2 * 64, mega_transfers=5200, memory=128, float64=16, float32=32,
    ),
    "raspberry-pi-5": _cpu(
        "Raspberry Pi 5 8 GB, its CPU",
        "Raspberry Pi 5, product brief, 2023; "
        "FMLA by the Arm Cortex-A76 Software Optimization Guide 8.0, 2019",
        cores=4, mhz=2400, bits=32, mega_transfers=4267, memory=8, float64=8, float32=16, float16=32,
    ),
}  # fmt: skip
"""Every machine by its name; what stands in front of the first dash is shared by those that differ in size."""

ALIASES: Mapping[str, str] = {
    "a100": "a100-80gb",
    "a100-sxm": "a100-80gb",
    "h100": "h100-sxm",
    "v100": "v100-sxm2",
    "jetson-orin": "orin",
    "3090": "rtx3090",
    "4090": "rtx4090",
    "5090": "rtx5090",
    "pi5": "raspberry-pi-5",
}
"""Short names: of a machine that comes in several sizes, the one that is meant."""
