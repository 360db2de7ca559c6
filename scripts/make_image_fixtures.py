#!/usr/bin/env python3
"""Write tests/data/formats/ and formats.json: image files of many kinds and what Pillow decodes them to (development only).

    python3 scripts/make_image_fixtures.py [--out tests/data]
"""
import argparse
import os
import shutil
import struct
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps, PngImagePlugin

from make_fixtures import digest, write_json


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "..", "tests", "data"))
    out = os.path.abspath(parser.parse_args().out)
    folder = f"{out}/formats"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    rng = np.random.default_rng(3)

    def picture(w, h):
        y, x = np.mgrid[0:h, 0:w]
        base = np.stack([x * 255 / w, y * 255 / h, 128 + 100 * np.sin(x / 9) * np.cos(y / 7)], -1)
        return Image.fromarray(np.clip(base + rng.normal(0, 14, base.shape), 0, 255).astype(np.uint8))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def write_png(name, depth, colour, channels, extra=b""):
        w, h = 19, 13
        rows = rng.integers(0, 256, (h, (w * channels * depth + 7) // 8), dtype=np.uint8)
        with open(f"{folder}/{name}", "wb") as f:
            f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, 0)) + extra +
                    chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r.tobytes() for r in rows))) + chunk(b"IEND", b""))

    write_png("grey1.png", 1, 0, 1)
    write_png("grey4.png", 4, 0, 1)
    write_png("grey16.png", 16, 0, 1)
    write_png("rgb16.png", 16, 2, 3)
    write_png("rgba16.png", 16, 6, 4)
    write_png("grey_alpha.png", 8, 4, 2)
    write_png("grey_alpha16.png", 16, 4, 2)
    write_png("palette4.png", 4, 3, 1, chunk(b"PLTE", rng.integers(0, 256, 48, dtype=np.uint8).tobytes()) + chunk(b"tRNS", bytes(range(0, 160, 10))))
    write_png("rgb_transparent.png", 8, 2, 3, chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)))

    base = picture(29, 17)
    alpha = base.copy()
    alpha.putalpha(Image.fromarray(rng.integers(0, 256, (17, 29), dtype=np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp = ('<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
           'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="8"/></rdf:RDF></x:xmpmeta>')
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    for name, image, options in [
            ("lossy.webp", base, {"quality": 80}), ("lossless.webp", base, {"lossless": True}), ("alpha.webp", alpha, {"quality": 80}),
            ("exif.webp", base, {"exif": exif}), ("xmp.webp", base, {"xmp": xmp.encode()}), ("exif.png", base, {"exif": exif}), ("xmp.png", base, {"pnginfo": info}),
            ("xmp.jpg", base, {"xmp": xmp.encode()}), ("cmyk.jpg", base.convert("CMYK"), {"quality": 90}),
            ("cmyk_subsampled.jpg", base.convert("CMYK"), {"quality": 60, "subsampling": 2}), ("progressive.jpg", base, {"progressive": True}),
            ("rgb.bmp", picture(9, 7), {}), ("palette.bmp", picture(9, 7).quantize(17), {}), ("bilevel.bmp", picture(9, 7).convert("1"), {}),
            ("lzw.tif", base, {"compression": "tiff_lzw"}), ("exif.tif", picture(9, 7), {"exif": exif}), ("jpeg.tif", base, {"compression": "jpeg"}),
            ("grey16.tif", Image.fromarray(rng.integers(0, 65536, (7, 9), dtype=np.uint16)), {}), ("palette.tif", picture(9, 7).quantize(20), {}),
            ("bilevel.tif", base.convert("1"), {"compression": "group4"}), ("cmyk.tif", picture(9, 7).convert("CMYK"), {}), ("pixel.png", picture(1, 1), {})]:
        image.save(f"{folder}/{name}", **options)
    cases = []
    for name in sorted(os.listdir(folder)):
        with Image.open(f"{folder}/{name}") as f:
            plain = f.convert("RGB")
        with Image.open(f"{folder}/{name}") as f:
            upright = ImageOps.exif_transpose(f).convert("RGB")
        cases.append({"file": name, "plain": [*plain.size, digest(plain)], "upright": [*upright.size, digest(upright)]})
        os.chmod(f"{folder}/{name}", 0o644)
    write_json(f"{out}/formats.json", {"pillow": PIL.__version__, "cases": cases}, indent=None)


if __name__ == "__main__":
    main()
