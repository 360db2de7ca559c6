#!/usr/bin/env python3
"""Write tests/data/lora: a PEFT adapter for the tiny model and the log-probs that the model then has (development only).

    python3 scripts/make_lora_fixture.py            writes the fixture
    python3 scripts/make_lora_fixture.py --check DIR MERGED
        loads an adapter that ssl4rl wrote with peft, and the directory that `ssl4rl merge` wrote with transformers, and
        prints the largest difference of their logits

Needs torch, transformers >= 5, peft, pillow.
"""
import argparse
import json
import os
import shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import Qwen2_5_VLForConditionalGeneration

from make_training_fixtures import DATA, PROMPTS, Encoder, content, forward, load_model

COMPLETION = list(range(40, 52))


def check(adapter, merged):
    encoder, rows = Encoder(), []
    base = load_model()
    peft_model = PeftModel.from_pretrained(load_model(), adapter).eval()
    folded = Qwen2_5_VLForConditionalGeneration.from_pretrained(merged, dtype=torch.float64).eval()
    for group in PROMPTS:
        row = {"prompt": encoder.prompt(PROMPTS[group]), "ids": COMPLETION}
        with torch.no_grad():
            results = [forward(m, encoder, row, 1.0)[0] for m in (base, peft_model, folded)]
        rows.append([float((results[0] - results[1]).abs().max()), float((results[1] - results[2]).abs().max())])
    print("adapter changes log-probs by up to", max(r[0] for r in rows), "; peft against merged, up to", max(r[1] for r in rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", nargs=2, metavar=("ADAPTER", "MERGED"))
    args = parser.parse_args()
    if args.check:
        return check(*args.check)
    out = f"{DATA}/lora"
    shutil.rmtree(out, ignore_errors=True)
    torch.manual_seed(3)
    model = get_peft_model(load_model(torch.float32), LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "v_proj", "up_proj"], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.3)
    model.save_pretrained(out)
    config = json.load(open(f"{out}/adapter_config.json", encoding="utf-8"))
    config["base_model_name_or_path"] = "../tiny_qwen2_5_vl"
    json.dump(config, open(f"{out}/adapter_config.json", "w", encoding="utf-8"), indent=1)
    if os.path.exists(f"{out}/README.md"):
        os.remove(f"{out}/README.md")
    encoder, cases = Encoder(), []
    model = model.double().eval()
    for group in ("b", "d"):
        with torch.no_grad():
            logp = forward(model, encoder, {"prompt": encoder.prompt(PROMPTS[group]), "ids": COMPLETION}, 1.0)[0]
        cases.append({"messages": [{"role": r, "content": content(p)} for r, p in PROMPTS[group]], "completion_ids": COMPLETION, "logprobs": logp.tolist()})
    json.dump(cases, open(f"{out}/cases.json", "w", encoding="utf-8"), indent=1)


if __name__ == "__main__":
    main()
