#!/usr/bin/env python3
"""Image preprocessing beside transformers' Pillow-based processor, on one thread (development only).

    python3 scripts/preprocess_speed.py MODEL FOLDER [--binary-dir build/release/bin]

Reads every image of the folder, turns it upright, resizes, normalises and cuts it into patches by the model's settings,
as `ssl4rl` and as transformers do, and compares the patches of all images bit by bit.
"""
import argparse
import hashlib
import json
import os
import subprocess
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from PIL import Image, ImageOps
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("--binary-dir", default="build/release/bin")
    options = parser.parse_args()
    torch.set_num_threads(1)
    processor = Qwen2VLImageProcessorPil.from_pretrained(options.model)
    files = sorted(f"{options.folder}/{name}" for name in os.listdir(options.folder) if name.lower().endswith(ENDINGS))
    decode = process = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        images = [ImageOps.exif_transpose(Image.open(file)).convert("RGB") for file in files]
        decode = min(decode, time.perf_counter() - start)
        start = time.perf_counter()
        patches = [processor(image)["pixel_values"] for image in images]
        process = min(process, time.perf_counter() - start)
    digest, count = hashlib.sha256(), 0
    for patch in patches:
        patch = np.ascontiguousarray(patch, dtype=np.float32)
        digest.update(patch.tobytes())
        count += len(patch)
    theirs = {"images": len(files), "patches": count, "sha256": digest.hexdigest(), "decode_per_s": len(files) / decode, "process_per_s": len(files) / process}
    ours = json.loads(subprocess.run([f"{options.binary_dir}/preprocess_benchmark", options.model, options.folder], check=True, capture_output=True, text=True,
                                     env={**os.environ, "OMP_NUM_THREADS": "1"}).stdout)
    print(f"{len(files)} images, {count} patches, {'identical' if ours['sha256'] == theirs['sha256'] else 'DIFFERENT'} bits")
    for name in ("decode_per_s", "process_per_s"):
        print(f"{name}: ssl4rl {ours[name]:.0f}, transformers {theirs[name]:.0f}, ratio {ours[name] / theirs[name]:.2f}")


main()
