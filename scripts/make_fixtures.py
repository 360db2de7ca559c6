#!/usr/bin/env python3
"""Write the golden fixtures of tests/data with the reference implementations (development only).

    python3 scripts/make_fixtures.py [--out tests/data]

Makes a tiny random Qwen2.5-VL with its tokenizer, a few drawn images, and what transformers, tokenizers and Pillow
compute from them: token ids, log-probabilities, greedy continuations, decoded and resized pixels. Needs torch,
torchvision, transformers >= 5, tokenizers, safetensors, pillow, numpy; versions.json says which made the fixtures.
"""
import argparse
import hashlib
import json
import os
import random
import shutil

import numpy as np
import PIL
import tokenizers
import torch
import transformers
from PIL import Image, ImageDraw, ImageOps
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

VOCAB = 512  # entries before the added tokens
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
# The published tokenizer's order; False = added, but not "special".
ADDED = [("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True), ("<|object_ref_start|>", True),
         ("<|object_ref_end|>", True), ("<|box_start|>", True), ("<|box_end|>", True), ("<|quad_start|>", True),
         ("<|quad_end|>", True), ("<|vision_start|>", True), ("<|vision_end|>", True), ("<|vision_pad|>", True),
         ("<|image_pad|>", True), ("<|video_pad|>", True), ("<tool_call>", False), ("</tool_call>", False)]
TEXT = """You are a helpful assistant. The second image is the first one turned counter-clockwise. By how many degrees
was it turned? Think about it inside <think> and </think>, then answer inside <answer> and </answer>. It's the user's
picture, isn't it? We've seen that they're 90, 180 or 270 degrees; I'll say that you'd better look. top-left top-right
bottom-left bottom-right positive negative user assistant system\n\n    return x[i] + 1;\n\tif (a == b) { 100% }
naïve café größer Straße привет мир 旋转图像 画像を回転 صورة 한국어"""
STRINGS = [
    "", " ", "  ", "\n", " \n ", "\t\t x", "hello", "Hello World", "It's the user's; THEY'RE we'LL i'd 'tis 's 'S 'ſ",
    "a  b   c    d", "line one\nline two\r\n\r\nline three  \n  ", "x\n\n\ny", "trailing   ", "   leading",
    "1234567890", "3.14159, 90°, 180°", "100%!!! (really?)", "<answer>90</answer>", "<think>\n</think> <answer>1,2,3,4</answer>",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", "<|im_end|><|im_end|>", "a<|endoftext|>b", "<|not_a_token|>",
    "<tool_call>{\"x\": 1}</tool_call>", "<|image_pad|", "<|vision_start|><|image_pad|><|vision_end|>",
    "naïve café größer Straße", "e\u0301 vs \u00e9", "A\u030a \u212b \u1e9b\u0323", "привет мир", "旋转图像九十度", "画像を回転する",
    "صورة", "한국어 문장", "\u1112\u1161\u11ab", "😀 👨‍👩‍👧 🇩🇪", "\u00a0nbsp\u3000ideographic\u2009thin", "zero\u200bwidth", "\u0085nel\u2028ls",
    "\x1c\x1d fs", "١٢٣ ²³ ⅷ", "f(x) = x**2;\n\treturn a[i] * b[j];\n", "http://a.b/c?d=e&f=g#h", "_under_score__", "'", "''s", "don't've",
    "a'b'c'd", "É'S", "ab\r\ncd\re", " \r\n \n", "\u0301combining first", "x" * 300, "ab" * 200, "the " * 100, "!?" * 100,
    "\ufeffbom", "\U0010ffff\ue000", "ﬁ ligature ℌ", "İstanbul ǅ",
]
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def write_json(path, value, **options):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, **(options or {"indent": 1}))
        f.write("\n")


def build_tokenizer():
    t = Tokenizer(models.BPE(dropout=None, unk_token=None, continuing_subword_prefix="", end_of_word_suffix="",
                             fuse_unk=False, byte_fallback=False))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    t.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    t.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    t.train_from_iterator(TEXT.splitlines() * 3, trainers.BpeTrainer(
        vocab_size=VOCAB, min_frequency=1, special_tokens=[], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    for text, special in ADDED:
        t.add_tokens([AddedToken(text, special=special, normalized=False)])
    return t


def build_model(ids, rows, seed):
    config = Qwen2_5_VLConfig(
        text_config=dict(vocab_size=rows, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                         num_key_value_heads=2, max_position_embeddings=4096, rms_norm_eps=1e-6,
                         rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
                         bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|im_end|>"]),
        vision_config=dict(depth=3, hidden_size=32, hidden_act="silu", intermediate_size=52, num_heads=2, in_channels=3,
                           patch_size=14, spatial_merge_size=2, temporal_patch_size=2, tokens_per_second=2, window_size=56,
                           out_hidden_size=64, fullatt_block_indexes=[1]),
        tie_word_embeddings=True, image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"])
    model = Qwen2_5_VLForConditionalGeneration(config).eval()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            draw = torch.randn(p.shape, generator=g)
            if name.endswith(".bias"):
                p.copy_(0.1 * draw)
            elif p.dim() == 1:
                p.copy_(1 + 0.2 * draw)
            else:
                p.copy_(draw * (p.shape[1] if "embed_tokens" in name else p[0].numel()) ** -0.5)
    return model


def draw_images(folder):
    """Small pictures in the formats that decode differently."""
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(7)

    def picture(w, h):
        y, x = np.mgrid[0:h, 0:w]
        base = np.stack([x * 255 / w, y * 255 / h, 128 + 100 * np.sin(x / 9) * np.cos(y / 7)], -1)
        image = Image.fromarray(np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8))
        d = ImageDraw.Draw(image)
        d.ellipse([w * .2, h * .3, w * .6, h * .9], fill=(220, 40, 60))
        d.polygon([(w * .5, 2), (w * .95, h * .5), (w * .6, h * .6)], fill=(20, 60, 200))
        return image
    picture(130, 90).save(f"{folder}/rgb.png")
    picture(160, 120).save(f"{folder}/photo.jpg", quality=85)
    picture(75, 101).save(f"{folder}/fine.jpg", quality=92, subsampling=0)
    picture(64, 64).convert("L").save(f"{folder}/grey.png")
    picture(80, 60).convert("L").save(f"{folder}/grey.jpg", quality=80)
    picture(90, 70).quantize(31).save(f"{folder}/palette.png")
    rgba = picture(60, 60).convert("RGBA")
    rgba.putalpha(Image.fromarray(rng.integers(0, 256, (60, 60), dtype=np.uint8)))
    rgba.save(f"{folder}/alpha.png")
    exif = Image.Exif()
    for orientation in (3, 6, 8, 5):
        exif[0x0112] = orientation
        picture(48, 36).save(f"{folder}/turned{orientation}.jpg", quality=90, exif=exif)
    return sorted(os.listdir(folder))


def digest(image):
    return hashlib.sha256(np.asarray(image.convert("RGB")).tobytes()).hexdigest()


def image_cases(folder, names):
    cases = {"decode": [], "resize": [], "rotate": [], "smart_resize": []}
    for name in names:
        with Image.open(f"{folder}/{name}") as f:
            plain = f.convert("RGB")
            upright = ImageOps.exif_transpose(f).convert("RGB")
        cases["decode"].append({"file": name, "plain": [*plain.size, digest(plain)], "upright": [*upright.size, digest(upright)]})
    filters = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR, "lanczos": Image.LANCZOS, "box": Image.BOX}
    for name, size, kind in [("rgb.png", (84, 56), "bicubic"), ("rgb.png", (280, 196), "bicubic"), ("rgb.png", (130, 28), "bicubic"),
                             ("rgb.png", (28, 90), "bicubic"), ("photo.jpg", (56, 56), "bicubic"), ("photo.jpg", (33, 47), "bilinear"),
                             ("photo.jpg", (200, 10), "lanczos"), ("fine.jpg", (31, 300), "box"), ("rgb.png", (1, 1), "bicubic"),
                             ("grey.png", (5, 3), "lanczos"), ("rgb.png", (140, 84), "bicubic"), ("rgb.png", (131, 89), "bicubic"),
                             ("rgb.png", (129, 88), "bicubic"), ("rgb.png", (129, 87), "bicubic"), ("photo.jpg", (168, 112), "lanczos"),
                             ("photo.jpg", (150, 20), "bilinear"), ("fine.jpg", (300, 101), "bicubic"), ("fine.jpg", (74, 300), "bicubic")]:
        image = Image.open(f"{folder}/{name}").convert("RGB")
        cases["resize"].append({"file": name, "size": size, "filter": kind, "sha256": digest(image.resize(size, filters[kind]))})
    for name, degrees in [("rgb.png", 45), ("rgb.png", 30), ("photo.jpg", 210), ("photo.jpg", 270), ("grey.png", 135)]:
        turned = Image.open(f"{folder}/{name}").convert("RGB").rotate(degrees, expand=True)
        cases["rotate"].append({"file": name, "degrees": degrees, "size": turned.size, "sha256": digest(turned)})
    rng = random.Random(3)
    for _ in range(200):
        h, w = (int(2 ** rng.uniform(3, 12.5)) for _ in range(2))
        f, low, high = rng.choice([(28, 3136, 12845056), (28, 56 * 56, 28 * 28 * 1280), (28, 35840, 100352), (32, 65536, 1048576)])
        try:
            cases["smart_resize"].append([h, w, f, low, high, *smart_resize(h, w, f, low, high)])
        except ValueError:
            cases["smart_resize"].append([h, w, f, low, high, None, None])
    return cases


def render(messages, template):
    """The prompt as text, as transformers renders it."""
    return transformers.utils.chat_template_utils.render_jinja_template([messages], chat_template=template, add_generation_prompt=True)[0][0]


def image_inputs(case, template, tokenizer, processor, folder):
    """A case's prompt ids and the tensors of its images."""
    pixels, grids = [], []
    for message in case["messages"]:
        for part in message["content"] if isinstance(message["content"], list) else []:
            if part["type"] == "image":
                with Image.open(os.path.join(os.path.dirname(folder), part["image"])) as f:
                    picture = ImageOps.exif_transpose(f).convert("RGB")
                size = {"shortest_edge": case.get("min_pixels", 3136), "longest_edge": case.get("max_pixels", 12845056)}
                out = processor(images=[picture], size=size, return_tensors="pt")
                pixels.append(out["pixel_values"])
                grids.append(out["image_grid_thw"])
    pieces = render(case["messages"], template).split("<|image_pad|>")
    expanded = pieces[0]
    for grid, piece in zip(grids, pieces[1:]):
        expanded += "<|image_pad|>" * (int(grid.prod()) // 4) + piece
    inputs = {"pixel_values": torch.cat(pixels), "image_grid_thw": torch.cat(grids)} if pixels else {}
    return tokenizer.encode(expanded).ids, inputs


def model_cases(model, tokenizer, processor, folder, images):
    ids_of = {text: tokenizer.token_to_id(text) for text, _ in ADDED}
    forbidden = [ids_of[t] for t in ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")]
    forbidden += range(tokenizer.get_vocab_size(), model.config.text_config.vocab_size)

    def image(name):
        return {"type": "image", "image": f"images/{name}"}

    def text(t):
        return {"type": "text", "text": t}
    cases = [
        {"messages": [{"role": "user", "content": "How many degrees?"}], "completion": "<think>\n</think> <answer>90</answer>"},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [text("Hi "), text("there")]}],
         "completion": "top-left<|im_end|>"},
        {"messages": [{"role": "user", "content": [image("rgb.png"), text("What is it?")]}], "completion": " a picture"},
        {"messages": [{"role": "user", "content": [image("photo.jpg"), image("fine.jpg"), text("Which one is turned?")]}],
         "completion": "<answer>the second</answer>"},
        {"messages": [{"role": "user", "content": [text("First: "), image("turned6.jpg"), text("then "), image("rgb.png")]},
                      {"role": "assistant", "content": "It's turned."}, {"role": "user", "content": [image("grey.png"), text("And this?")]}],
         "completion": "90 degrees"},
        {"messages": [{"role": "user", "content": [image("photo.jpg"), text("small")]}], "min_pixels": 784, "max_pixels": 3136, "completion": "x"},
        {"messages": [{"role": "user", "content": [image("alpha.png"), text("large")]}], "min_pixels": 30000, "completion": "y z"},
    ]
    for number, case in enumerate(cases):
        case["id"] = f"case{number}"
        prompt, inputs = image_inputs(case, CHAT_TEMPLATE, tokenizer, processor, folder)
        completion = tokenizer.encode(case["completion"]).ids

        def types(row):
            return (torch.tensor([row]) == ids_of["<|image_pad|>"]).int()
        with torch.no_grad():
            row = prompt + completion
            logits = model(input_ids=torch.tensor([row]), mm_token_type_ids=types(row), **inputs).logits[0]
            logp = {}
            for temperature in (1.0, 0.7):
                lp = (logits.double() / temperature).log_softmax(-1)
                logp[temperature] = [float(lp[len(prompt) - 1 + i, t]) for i, t in enumerate(completion)]
            out = model.generate(input_ids=torch.tensor([prompt]), mm_token_type_ids=types(prompt),
                                 attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False,
                                 max_new_tokens=24, suppress_tokens=forbidden, **inputs)[0, len(prompt):].tolist()
        case.update(prompt_ids=prompt, token_ids=completion, logprobs=logp[1.0], logprobs_at_0_7=logp[0.7], greedy_ids=out)
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "..", "tests", "data"))
    out = os.path.abspath(parser.parse_args().out)
    torch.set_num_threads(1)
    model_dir, image_dir = f"{out}/tiny_qwen2_5_vl", f"{out}/images"
    for folder in (model_dir, image_dir):
        shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(model_dir)

    tokenizer = build_tokenizer()
    tokenizer.save(f"{model_dir}/tokenizer.json")
    cases = [{"text": s, "ids": tokenizer.encode(s).ids} for s in STRINGS]
    for case in cases:
        case["decoded"] = tokenizer.decode(case["ids"], skip_special_tokens=True)
        case["decoded_with_special"] = tokenizer.decode(case["ids"], skip_special_tokens=False)
    rng = random.Random(5)
    for _ in range(40):  # arbitrary ids: broken UTF-8
        ids = [rng.randrange(VOCAB + len(ADDED)) for _ in range(rng.randrange(1, 12))]
        cases.append({"text": None, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=True),
                      "decoded_with_special": tokenizer.decode(ids, skip_special_tokens=False)})
    write_json(f"{out}/tokenizer_cases.json", cases)

    names = draw_images(image_dir)
    write_json(f"{out}/image_cases.json", image_cases(image_dir, names), indent=None)

    ids = {text: tokenizer.token_to_id(text) for text, _ in ADDED}
    rows = (tokenizer.get_vocab_size() // 64 + 1) * 64
    model = build_model(ids, rows, seed=1)
    model.save_pretrained(model_dir)
    write_json(f"{model_dir}/generation_config.json", {"eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]], "do_sample": True,
                                                        "pad_token_id": ids["<|endoftext|>"], "repetition_penalty": 1.05})
    write_json(f"{model_dir}/preprocessor_config.json", {
        "min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
        "image_mean": MEAN, "image_std": STD, "image_processor_type": "Qwen2VLImageProcessor"})
    write_json(f"{model_dir}/tokenizer_config.json", {"chat_template": CHAT_TEMPLATE, "eos_token": "<|im_end|>",
                                                       "pad_token": "<|endoftext|>", "tokenizer_class": "Qwen2Tokenizer"})
    processor = Qwen2VLImageProcessorPil(patch_size=14, temporal_patch_size=2, merge_size=2, image_mean=MEAN, image_std=STD,
                                         size={"shortest_edge": 3136, "longest_edge": 12845056})
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(model_dir, dtype=torch.float32).eval()
    model.generation_config.repetition_penalty = 1.0  # the reference run takes only the stop ids from the file
    write_json(f"{out}/model_cases.json", model_cases(model, tokenizer, processor, image_dir, names))

    # The same weights with an output layer of their own.
    untied = build_model(ids, rows, seed=1)
    generator = torch.Generator().manual_seed(2)
    head = torch.randn(untied.lm_head.weight.shape, generator=generator) * 0.15
    untied.config.tie_word_embeddings = False
    untied.lm_head.weight = torch.nn.Parameter(head)
    from safetensors.torch import save_file
    save_file({"lm_head.weight": head}, f"{out}/untied_head.safetensors")
    write_json(f"{out}/model_cases_untied.json", model_cases(untied, tokenizer, processor, image_dir, names)[:3])

    write_json(f"{out}/versions.json", {"torch": torch.__version__, "transformers": transformers.__version__,
                                        "tokenizers": tokenizers.__version__, "pillow": PIL.__version__, "numpy": np.__version__})
    for folder, _, files in os.walk(out):
        for name in files:
            os.chmod(os.path.join(folder, name), 0o644)


if __name__ == "__main__":
    main()
