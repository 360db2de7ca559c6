#!/usr/bin/env python3
"""Puzzles a second of the reference's tasks as a Python trainer makes them, with Pillow and torchvision, on one thread.

    scripts/bench_pillow_tasks.py FOLDER [SECONDS]

Development only: it stands beside build/release/bin/tasks_benchmark. Each task decodes its photos from files and makes the
same images by the same laws as `preset: paper` (rotation's hardened law is a square crop, a quarter turn and a jitter).
torchvision is left out where it isn't installed; contrastive then uses Pillow alone.
"""
import math
import random
import sys
import time
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

FILES = []


def load(i):
    return Image.open(FILES[i % len(FILES)]).convert("RGB")


def jitter(im, s, hue):
    order = [0, 1, 2, 3]
    random.shuffle(order)
    for change in order:
        factor = random.uniform(max(0, 1 - s), 1 + s)
        if change == 0:
            im = ImageEnhance.Brightness(im).enhance(factor)
        elif change == 1:
            im = ImageEnhance.Contrast(im).enhance(factor)
        elif change == 2:
            im = ImageEnhance.Color(im).enhance(factor)
        else:
            h, sat, v = im.convert("HSV").split()
            shift = int(random.uniform(-hue, hue) * 255)
            im = Image.merge("HSV", (h.point(lambda x: (x + shift) % 256), sat, v)).convert("RGB")
    return im


def rotation(i):
    im = load(i)
    side = min(im.size)
    left, top = (im.width - side) // 2, (im.height - side) // 2
    im = im.crop((left, top, left + side, top + side))
    angle = random.choice([0, 90, 180, 270])
    return im, jitter(im.rotate(angle, expand=True), 0.2, 0.05)


def rotation_paper(i):
    im = load(i)
    angle = random.choice([0, 90, 180, 270])
    turned = im.rotate(angle, expand=True)
    return im, turned


def jigsaw(i):
    im = load(i)
    w, h = im.width // 2, im.height // 2
    tiles = [im.crop((c * w, r * h, (c + 1) * w, (r + 1) * h)) for r in range(2) for c in range(2)]
    random.shuffle(tiles)
    return tiles


def position(i):
    im = load(i)
    w, h = im.width // 2, im.height // 2
    q = random.randrange(4)
    cw, ch = (random.randint(min(max(28, int(0.2 * side)), int(0.8 * side)), int(0.8 * side)) for side in (w, h))
    x, y = q % 2 * w + random.randint(0, w - cw), q // 2 * h + random.randint(0, h - ch)
    return im, im.crop((x, y, x + cw, y + ch))


def view(im):
    area = im.width * im.height
    for _ in range(10):
        target = area * random.uniform(0.08, 1)
        aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= im.width and 0 < h <= im.height:
            break
    else:
        w, h = im.size
    x, y = random.randint(0, im.width - w), random.randint(0, im.height - h)
    out = im.resize((224, 224), Image.BICUBIC, (x, y, x + w, y + h))
    if random.random() < 0.8:
        out = jitter(out, 0.8, 0.2)
    if random.random() < 0.2:
        out = out.convert("L").convert("RGB")
    if random.random() < 0.5:
        out = out.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2)))
    return ImageOps.mirror(out) if random.random() < 0.5 else out


def contrastive(i):
    first = load(i)
    second = first if random.random() < 0.5 else load(random.randrange(len(FILES)))
    return view(first), view(second)


def contrastive_torchvision(i):
    first = load(i)
    second = first if random.random() < 0.5 else load(random.randrange(len(FILES)))
    return SIMCLR(first), SIMCLR(second)


def masked_patch(i):
    im = load(i)
    side = random.randint(math.ceil(min(im.size) / 4), min(im.size) // 2)
    box = lambda: (lambda x, y: (x, y, x + side, y + side))(random.randint(0, im.width - side), random.randint(0, im.height - side))
    patches = [im.crop(box()) for _ in range(4)]
    masked = im.copy()
    masked.paste((128, 128, 128), box())
    return masked, patches


def main():
    FILES.extend(sorted(p for p in Path(sys.argv[1]).rglob("*") if p.suffix.lower() in (".jpg", ".png")))
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 2
    tasks = [rotation, rotation_paper, jigsaw, position, contrastive, masked_patch]
    try:
        from torchvision import transforms as T

        global SIMCLR
        SIMCLR = T.Compose([
            T.RandomResizedCrop(224, (0.08, 1), interpolation=T.InterpolationMode.BICUBIC),
            T.RandomApply([T.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8),
            T.RandomGrayscale(0.2),
            T.RandomApply([T.GaussianBlur(23, (0.1, 2))], 0.5),
            T.RandomHorizontalFlip(),
        ])
        import torch

        torch.set_num_threads(1)
        tasks.insert(5, contrastive_torchvision)
    except ImportError:
        pass
    for make in tasks:
        for i in range(10):
            make(i)
        begun, n = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            out = make(n)
            for im in out if isinstance(out, (list, tuple)) else [out]:
                if isinstance(im, Image.Image):
                    im.load()
            n += 1
        print(f"{make.__name__:26s} {n / (time.perf_counter() - begun):8.1f} puzzles/s")


main()
