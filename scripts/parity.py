#!/usr/bin/env python3
"""Compare ssl4rl with transformers on random small models of every family (development only).

    python3 scripts/parity.py --binary build/release/bin/ssl4rl [--families qwen2_vl,…] [--models N] [--seed S] [--keep DIR]

For each family and seed: draws a configuration, weights, a tokenizer, pictures in several formats and conversations
(several turns, several images, odd sizes, per-line pixel bounds), writes a model directory in a random published form
(nested or flat configuration, new or old tensor names, one file or shards, float32 or bfloat16), and runs `ssl4rl score`
and greedy `ssl4rl generate` on it. transformers computes the same from the same directory. Families that read images are
also trained for one step and the checkpoint is loaded by transformers. Prints a table; exits 1 on a difference.
"""
import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from PIL import Image, ImageOps
from safetensors import safe_open
from safetensors.torch import save_file
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

import make_family_fixtures as fixtures
from make_fixtures import CHAT_TEMPLATE, MEAN, STD, STRINGS, build_tokenizer, render, write_json

FAMILIES = ["qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen2", "qwen3"]
MARKERS = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")


def draw_config(family, rng, tokenizer):
    ids = {name: tokenizer.token_to_id(name) for name in MARKERS + ("<|endoftext|>", "<|im_end|>")}
    heads = rng.choice([2, 4, 6])
    head_dim = rng.choice([8, 16, 24])
    hidden = heads * head_dim if family in ("qwen2_5_vl", "qwen2_vl", "qwen2") else rng.choice([32, 48, 80])
    rows = tokenizer.get_vocab_size() + rng.randrange(1, 70)
    text = dict(vocab_size=rows, hidden_size=hidden, intermediate_size=rng.choice([40, 64, 100]), num_hidden_layers=rng.choice([3, 4]),
                num_attention_heads=heads, num_key_value_heads=rng.choice([1, 2]), max_position_embeddings=4096,
                rms_norm_eps=rng.choice([1e-6, 1e-5]), hidden_act="silu", bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|im_end|>"])
    theta = rng.choice([1e4, 1e6, 5e6])
    half = head_dim // 2
    t, h = sorted(rng.sample(range(1, half), 2))
    sections = [t, h - t, half - h]
    tie = rng.random() < 0.5
    vision_ids = dict(image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"], vision_start_token_id=ids["<|vision_start|>"],
                      vision_end_token_id=ids["<|vision_end|>"])
    v_heads = rng.choice([1, 2, 4])
    vision = dict(depth=rng.choice([2, 4]), num_heads=v_heads, spatial_merge_size=2, temporal_patch_size=2)
    v_width = v_heads * rng.choice([8, 16])
    if family == "qwen2_5_vl":
        vision.update(hidden_size=v_width, intermediate_size=rng.choice([36, 50]), in_chans=3, hidden_act="silu", out_hidden_size=hidden, patch_size=14,
                      window_size=rng.choice([56, 112]), fullatt_block_indexes=[1], tokens_per_second=2)
    elif family == "qwen2_vl":
        vision.update(embed_dim=v_width, hidden_size=hidden, mlp_ratio=rng.choice([2, 4]), in_chans=3, patch_size=14)
    else:
        vision.update(hidden_size=v_width, intermediate_size=rng.choice([36, 50]), in_channels=3, hidden_act="gelu_pytorch_tanh", out_hidden_size=hidden, patch_size=16,
                      num_position_embeddings=rng.choice([16, 36, 100]), deepstack_visual_indexes=rng.choice([[0], [1, 0], [0, 1]]))
    architecture = {"qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration", "qwen2_vl": "Qwen2VLForConditionalGeneration", "qwen3_vl": "Qwen3VLForConditionalGeneration",
                    "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}[family]
    head = {"model_type": family, "architectures": [architecture], "tie_word_embeddings": tie}
    if family in ("qwen2_5_vl", "qwen2_vl"):
        return {**head, **text, **vision_ids, "vision_config": vision, "rope_theta": theta, "rope_scaling": {"type": "mrope", "mrope_section": sections},
                "use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 4}
    scaling = rng.choice([None, None, {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}, {"rope_type": "linear", "factor": 2.0}])
    if family == "qwen3_vl":
        w = rng.randrange(0, half // 3 + 1)
        return {**head, **vision_ids, "vision_config": vision,
                "text_config": {"model_type": "qwen3_vl_text", **text, "head_dim": head_dim, "attention_bias": rng.random() < 0.3, "rope_theta": theta,
                                "rope_scaling": {**(scaling or {"rope_type": "default"}), "mrope_interleaved": True, "mrope_section": [half - 2 * w, w, w]}}}
    config = {**head, **text, "rope_theta": theta, "rope_scaling": scaling}
    if family == "qwen3":
        config.update(head_dim=head_dim, attention_bias=rng.random() < 0.3)
    return config


def old_name(name):
    """What transformers 4.52 to 4.57 wrote."""
    if name.startswith("visual."):
        return "model." + name
    return "model.language_model." + name[6:] if name.startswith("model.") else name


def make_model(folder, family, rng):
    os.makedirs(folder)
    tokenizer = build_tokenizer()
    tokenizer.save(f"{folder}/tokenizer.json")
    config = draw_config(family, rng, tokenizer)
    patch = config.get("vision_config", {}).get("patch_size", 0)
    write_json(f"{folder}/config.json", config)
    template = {"qwen2": fixtures.QWEN2_5_TEMPLATE, "qwen3": fixtures.QWEN3_TEMPLATE, "qwen3_vl": fixtures.QWEN3_VL_TEMPLATE.replace("THINK", "")}.get(family, CHAT_TEMPLATE)
    write_json(f"{folder}/tokenizer_config.json", {"chat_template": template, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "tokenizer_class": "Qwen2Tokenizer"})
    if patch:
        mean, std = (MEAN, STD) if patch == 14 else ([0.5] * 3, [0.5] * 3)
        low, high = rng.choice([(3136, 12845056), (28 * 28 * 4, 28 * 28 * 40), (4096, 30000)])
        settings = {"patch_size": patch, "temporal_patch_size": 2, "merge_size": 2, "image_mean": mean, "image_std": std, "image_processor_type": "Qwen2VLImageProcessor"}
        settings.update({"size": {"shortest_edge": low, "longest_edge": high}} if rng.random() < 0.5 else {"min_pixels": low, "max_pixels": high})
        if rng.random() < 0.3:
            write_json(f"{folder}/processor_config.json", {"image_processor": settings})
        else:
            write_json(f"{folder}/preprocessor_config.json", settings)
        bounds = (low, high)
        processor = Qwen2VLImageProcessorPil(patch_size=patch, temporal_patch_size=2, merge_size=2, image_mean=mean, image_std=std,
                                             size={"shortest_edge": low, "longest_edge": high})
    else:
        bounds, processor = None, None
    cls = transformers.AutoModelForImageTextToText if patch else transformers.AutoModelForCausalLM
    model = cls.from_config(transformers.AutoConfig.from_pretrained(folder))
    model.save_pretrained(folder)
    with safe_open(f"{folder}/model.safetensors", "pt") as f:
        shapes = {key: list(f.get_slice(key).get_shape()) for key in f.keys()}
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    weights = {}
    for key, shape in shapes.items():
        draw = torch.randn(shape, generator=generator)
        weights[key] = 0.1 * draw if key.endswith(".bias") else 1 + 0.2 * draw if len(shape) == 1 else draw / math.sqrt(math.prod(shape[1:]))
    dtype = rng.choice([torch.float32, torch.bfloat16, torch.float16])
    weights = {key: value.to(dtype) for key, value in weights.items()}
    save_file(weights, f"{folder}/model.safetensors", metadata={"format": "pt"})
    reference = cls.from_pretrained(folder, dtype=torch.float32).eval()
    eos = [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")]
    write_json(f"{folder}/generation_config.json", {"eos_token_id": eos, "pad_token_id": eos[1], "do_sample": True, "temperature": 0.1, "top_k": 1, "repetition_penalty": 1.05})
    form = []
    if rng.random() < 0.5:
        write_json(f"{folder}/config.json", config)  # the hub's form; otherwise what save_pretrained wrote
        form.append("hub config")
    if family in ("qwen2_5_vl", "qwen2_vl") and rng.random() < 0.5:
        weights = {old_name(key): value for key, value in weights.items()}
        form.append("old names")
    if rng.random() < 0.5:
        os.remove(f"{folder}/model.safetensors")
        keys = sorted(weights)
        index = {}
        for part in range(3):
            name = f"model-{part + 1:05}-of-00003.safetensors"
            save_file({key: weights[key] for key in keys[part::3]}, f"{folder}/{name}", metadata={"format": "pt"})
            index.update({key: name for key in keys[part::3]})
        write_json(f"{folder}/model.safetensors.index.json", {"metadata": {"total_size": sum(w.numel() * w.element_size() for w in weights.values())}, "weight_map": index})
        form.append("3 shards")
    else:
        save_file(weights, f"{folder}/model.safetensors", metadata={"format": "pt"})
    return reference, tokenizer, template, processor, bounds, form + [str(dtype)[6:]]


def draw_pictures(folder, rng):
    os.makedirs(folder)
    noise = np.random.default_rng(rng.randrange(1 << 30))
    names = []
    for number in range(8):
        w, h = (int(2 ** rng.uniform(4, 8.6)) for _ in range(2))
        y, x = np.mgrid[0:h, 0:w]
        base = np.stack([x * 255 / w, y * 255 / h, 128 + 100 * np.sin(x / 9) * np.cos(y / 7)], -1)
        image = Image.fromarray(np.clip(base + noise.normal(0, 20, base.shape), 0, 255).astype(np.uint8))
        kind = number % 8
        if kind == 0:
            name, options = f"{number}.jpg", {"quality": 90}
        elif kind == 1:
            name, options = f"{number}.png", {}
        elif kind == 2:
            image.putalpha(Image.fromarray(noise.integers(0, 256, (h, w), dtype=np.uint8)))
            name, options = f"{number}.png", {}
        elif kind == 3:
            exif = Image.Exif()
            exif[0x0112] = rng.randrange(1, 9)
            name, options = f"{number}.jpg", {"quality": 80, "exif": exif}
        elif kind == 4:
            image, name, options = image.convert("L"), f"{number}.png", {}
        elif kind == 5:
            image, name, options = image.quantize(40), f"{number}.png", {}
        elif kind == 6:
            name, options = f"{number}.webp", {"lossless": True}
        else:
            name, options = f"{number}.bmp", {}
        image.save(f"{folder}/{name}", **options)
        names.append(name)
    return names


def draw_lines(rng, names, bounds, template):
    lines = []
    for number in range(10):
        def words():
            return " ".join(rng.choice(STRINGS) for _ in range(rng.randrange(1, 4))).replace("<|vision_start|><|image_pad|><|vision_end|>", "image")

        def content(user):
            if not names or not user:
                return words()
            parts = []
            for _ in range(rng.randrange(1, 4)):
                if rng.random() < 0.5:
                    parts.append({"type": "image", "image": f"pictures/{rng.choice(names)}"})
                else:
                    parts.append({"type": "text", "text": words()})
            return parts
        messages = [{"role": "system", "content": words()}] if rng.random() < 0.4 else []
        for turn in range(rng.randrange(0, 3)):
            answer = words()
            if rng.random() < 0.4:
                answer = f"<think>\n{words()}\n</think>\n\n{answer}"
            messages += [{"role": "user", "content": content(True)}, {"role": "assistant", "content": answer}]
        messages.append({"role": "user", "content": content(True)})
        line = {"id": f"line{number}", "messages": messages, "completion": words() + rng.choice(["", "<|im_end|>"]), "kept": {"number": number}}
        if bounds and rng.random() < 0.4:
            line["min_pixels"], line["max_pixels"] = rng.choice([(3136, 9000), (784, 3136), (20000, 40000)])
        lines.append(line)
    return lines


def reference_inputs(line, folder, template, tokenizer, processor, bounds):
    pixels, grids = [], []
    for message in line["messages"]:
        for part in message["content"] if isinstance(message["content"], list) else []:
            if part["type"] == "image":
                with Image.open(os.path.join(folder, part["image"])) as f:
                    picture = ImageOps.exif_transpose(f).convert("RGB")
                size = {"shortest_edge": line.get("min_pixels", bounds[0]), "longest_edge": line.get("max_pixels", bounds[1])}
                out = processor(images=[picture], size=size, return_tensors="pt")
                pixels.append(out["pixel_values"])
                grids.append(out["image_grid_thw"])
    pieces = render(line["messages"], template).split("<|image_pad|>")
    text = pieces[0] + "".join("<|image_pad|>" * (int(grid.prod()) // 4) + piece for grid, piece in zip(grids, pieces[1:]))
    return tokenizer.encode(text).ids, {"pixel_values": torch.cat(pixels), "image_grid_thw": torch.cat(grids)} if pixels else {}


def run(binary, *arguments):
    result = subprocess.run([binary, *arguments, "--quiet"], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join([binary, *arguments])}: exit {result.returncode}\n{result.stderr}")


def read_lines(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f.read().split("\n") if line]


def compare(binary, family, seed, folder):
    rng = random.Random(f"{family} {seed}")
    reference, tokenizer, template, processor, bounds, form = make_model(f"{folder}/model", family, rng)
    names = draw_pictures(f"{folder}/pictures", rng) if processor else []
    lines = draw_lines(rng, names, bounds, template)
    with open(f"{folder}/in.jsonl", "w", encoding="utf-8") as f:
        f.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    run(binary, "score", "--model", f"{folder}/model", "--input", f"{folder}/in.jsonl", "--output", f"{folder}/scores.jsonl")
    run(binary, "generate", "--model", f"{folder}/model", "--input", f"{folder}/in.jsonl", "--output", f"{folder}/greedy.jsonl", "--temperature", "0", "--max-new-tokens", "12")
    ends = [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")]
    forbidden = [tokenizer.token_to_id(t) for t in MARKERS] + list(range(tokenizer.get_vocab_size(), reference.config.get_text_config().vocab_size))
    reference.generation_config = transformers.GenerationConfig(eos_token_id=ends, pad_token_id=ends[1])
    image_id = tokenizer.token_to_id("<|image_pad|>")
    worst, differing, greedy_differing, tokens = 0.0, 0, 0, 0
    for line, score, greedy in zip(lines, read_lines(f"{folder}/scores.jsonl"), read_lines(f"{folder}/greedy.jsonl"), strict=True):
        prompt, inputs = reference_inputs(line, folder, template, tokenizer, processor, bounds)
        completion = tokenizer.encode(line["completion"]).ids
        assert score["id"] == greedy["id"] == line["id"] and score["kept"] == line["kept"] and greedy["prompt_tokens"] == len(prompt), line["id"]
        if score["prompt_ids"] != prompt or score["token_ids"] != completion:
            differing += 1
            print(f"{folder}: {line['id']}: ids differ", file=sys.stderr)
            continue
        types = (lambda row: {"mm_token_type_ids": (torch.tensor([row]) == image_id).int()}) if processor else (lambda row: {})
        with torch.no_grad():
            logp = reference(input_ids=torch.tensor([prompt + completion]), **types(prompt + completion), **inputs).logits[0].double().log_softmax(-1)
            for i, t in enumerate(completion):
                worst = max(worst, abs(score["logprobs"][i] - float(logp[len(prompt) - 1 + i, t])))
            tokens += len(completion)
            expected = reference.generate(input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False,
                                          max_new_tokens=12, suppress_tokens=forbidden, **types(prompt), **inputs)[0, len(prompt):].tolist()
        if greedy["token_ids"] != expected or greedy["text"] != tokenizer.decode(expected, skip_special_tokens=True):
            greedy_differing += 1
            print(f"{folder}: {line['id']}: greedy {greedy['token_ids']} expected {expected}", file=sys.stderr)
    reloaded = "-"
    if processor:
        config = {"model": {"path": f"{folder}/model", "max_pixels": 12000, "min_pixels": 784}, "data": {"images": f"{folder}/pictures", "holdout_fraction": 0, "min_side": 28},
                  "tasks": [{"name": "rotation"}], "rollout": {"max_completion_length": 4, "num_generations": 2, "max_prompt_length": 2000},
                  "train": {"steps": 1, "prompts_per_step": 2, "learning_rate": 1e-3}, "run": {"output_dir": f"{folder}/runs", "name": "x"}}
        write_json(f"{folder}/run.yaml", config)  # JSON is YAML
        run(binary, "sft", "--config", f"{folder}/run.yaml")
        again, info = type(reference).from_pretrained(f"{folder}/runs/x/checkpoints/step-000001", output_loading_info=True, dtype=torch.float32)
        bad = [info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]]
        moved = sum(float((a - b).abs().sum()) for a, b in zip(reference.parameters(), again.parameters()))
        reloaded = "yes" if not bad and moved > 0 else f"NO {bad}"
    return {"family": family, "lines": len(lines), "tokens": tokens, "ids": differing, "worst": worst, "greedy": greedy_differing, "reloaded": reloaded, "form": form}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", default="build/release/bin/ssl4rl")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", help="keep the directories here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    base = options.keep or tempfile.mkdtemp()
    failed = False
    print("| family | models | lines | completion tokens | lines with other ids | max abs. Δ log-prob | other greedy continuations | checkpoint loads in transformers |\n|---|---|---|---|---|---|---|---|")
    try:
        for family in options.families.split(","):
            results = []
            for seed in range(options.seed, options.seed + options.models):
                folder = os.path.join(base, f"{family}-{seed}")
                shutil.rmtree(folder, ignore_errors=True)
                results.append(compare(os.path.abspath(options.binary), family, seed, folder))
                print(results[-1], file=sys.stderr)
            worst = max(r["worst"] for r in results)
            reloaded = {r["reloaded"] for r in results}
            total = {key: sum(r[key] for r in results) for key in ("lines", "tokens", "ids", "greedy")}
            failed = failed or total["ids"] > 0 or worst > 1e-4 or total["greedy"] > 0 or not reloaded <= {"-", "yes"}
            print(f"| {family} | {len(results)} | {total['lines']} | {total['tokens']} | {total['ids']} | {worst:.1e} | {total['greedy']} | {', '.join(sorted(reloaded))} |", flush=True)
    finally:
        if not options.keep:
            shutil.rmtree(base, ignore_errors=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
