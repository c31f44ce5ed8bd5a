"""What a device can do at most, under the name that JAX gives it: the one table of peaks."""

import re

# FLOP/s of dense matrix products in bfloat16, in float16 where there is none (V100, T4), of what
# JAX calls a device. From NVIDIA's data sheets, whose numbers "with sparsity" are twice these, and
# from Google Cloud's pages on TPUs (docs.cloud.google.com/tpu/docs). A device of TPU v2, v3 and
# tpu7x is a core, half a chip.
PEAKS = {
    "v100": 125e12,  # SXM2
    "t4": 65e12,
    "l4": 121e12,
    "l40s": 362e12,
    "a10": 125e12,
    "a100": 312e12,
    "h100": 989e12,  # SXM5
    "h100_pcie": 756e12,
    "h100_nvl": 835e12,
    "h200": 989e12,
    "b200": 2250e12,
    "tpu_v2": 46e12 / 2,
    "tpu_v3": 123e12 / 2,
    "tpu_v4": 275e12,
    "tpu_v5e": 197e12,
    "tpu_v5p": 459e12,
    "tpu_v6e": 918e12,
    "tpu7x": 2307e12 / 2,
}

# How `device_kind` begins: NVIDIA's driver names the card, memory and socket follow; of TPUs it is
# the list in jax/_src/pallas/mosaic/tpu_info.py. Of two that fit, the longer one is meant.
_KINDS = {
    "Tesla V100": "v100",
    "Tesla T4": "t4",
    "NVIDIA L4": "l4",
    "NVIDIA L40S": "l40s",
    "NVIDIA A10": "a10",
    "NVIDIA A100": "a100",
    "NVIDIA H100": "h100",
    "NVIDIA H100 PCIe": "h100_pcie",
    "NVIDIA H100 NVL": "h100_nvl",
    "NVIDIA GH200": "h100",
    "NVIDIA H200": "h200",
    "NVIDIA B200": "b200",
    "TPU v2": "tpu_v2",
    "TPU v3": "tpu_v3",
    "TPU v4": "tpu_v4",
    "TPU v4 lite": "",  # an inference chip
    "TPU v5": "tpu_v5p",
    "TPU v5p": "tpu_v5p",
    "TPU v5 lite": "tpu_v5e",
    "TPU v5e": "tpu_v5e",
    "TPU v6 lite": "tpu_v6e",
    "TPU v6e": "tpu_v6e",
    "TPU7x": "tpu7x",
}


def peak(device_kind: str) -> float | None:
    """Peak FLOP/s of a device by JAX's `device_kind`; None where it is not known, as of CPUs."""
    if "MIG" in device_kind.split():  # a slice of a card
        return None
    fit = [kind for kind in _KINDS if re.match(rf"{re.escape(kind)}\b", device_kind)]
    return PEAKS.get(_KINDS[max(fit, key=len)]) if fit else None
