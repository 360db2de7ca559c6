#!/usr/bin/env python3
"""Write the fixtures of training steps in tests/data/training with the reference implementations (development only).

    python3 scripts/make_training_fixtures.py [--out tests/data/training]

Replays recorded rollouts through transformers' Qwen2.5-VL in float64, one row at a time without padding, and trains it as
the peers do: `compat: trl` with TRL's own GRPOTrainer._compute_loss and transformers' choice of decayed parameters,
`compat: verl` with the formulas of verl's core_algos written out here. torch.optim.AdamW, torch's clip_grad_norm_.
Each case stores the losses and gradient norms of its steps, and a count sketch of the change of the weights, from which
the norm of a difference can be told within a few per cent. Needs torch, transformers >= 5, trl, pillow, numpy.
"""
import argparse
import collections
import json
import os
import random
import types

import numpy as np
import torch
import transformers
import trl
from PIL import Image, ImageOps
from tokenizers import Tokenizer
from transformers import Qwen2_5_VLForConditionalGeneration, Trainer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from trl import GRPOTrainer

DATA = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "tests", "data"))
SKETCH = 1024
IMAGE = "<|image_pad|>"
ROWS = [  # group, reward, number of tokens, whether the end-of-turn token ends it
    ("a", 1.0, 9, True), ("b", 0.9, 5, True), ("a", 0.0, 14, False), ("c", 0.25, 1, True), ("b", 0.9, 7, True), ("c", 1.0, 12, True),
    ("a", 0.1, 6, True), ("d", -0.5, 8, True), ("c", 0.5, 4, True), ("d", 0.5, 11, False), ("a", 0.6, 3, True), ("b", 0.9, 2, True),
    ("d", 0.0, 10, True)]
PROMPTS = {
    "a": [("user", ["images/rgb.png", "Which way up is it?"])],
    "b": [("system", ["Answer briefly."]), ("user", ["images/grey.png", "images/turned6.jpg", "By how many degrees was it turned?"])],
    "c": [("user", ["What is 2 + 2?"]), ("assistant", ["4"]), ("user", ["images/palette.png", "And in this picture?"])],
    "d": [("user", ["Is the sky blue?"])]}
BASE = {"train.steps": 1, "train.learning_rate": 1e-3, "train.weight_decay": 0.05, "train.max_grad_norm": 1.0,
        "rollout.max_completion_length": 16, "rollout.temperature": 1.0}
TWO = {"train.prompts_per_update": 2}
OFF = {"file": "off_policy.jsonl"}
CASES = {
    "trl_dapo": {},
    "trl_dapo_beta": {"algorithm.beta": 0.2, "train.steps": 2, "algorithm.num_iterations": 2, **TWO},
    "trl_dapo_clipped": {**OFF, "algorithm.epsilon": 0.1, "algorithm.epsilon_high": 0.28, **TWO},
    "trl_grpo": {**OFF, "algorithm.loss_type": "grpo", "algorithm.scale_rewards": "batch", "algorithm.beta": 0.05, **TWO},
    "trl_bnpo": {**OFF, "algorithm.loss_type": "bnpo", **TWO},
    "trl_dr_grpo": {**OFF, "algorithm.loss_type": "dr_grpo", "algorithm.scale_rewards": "none", **TWO},
    "trl_cispo": {**OFF, "algorithm.loss_type": "cispo", "algorithm.epsilon_high": 1.5, **TWO},
    "trl_sapo": {**OFF, "algorithm.loss_type": "sapo", **TWO},
    "trl_sequence": {**OFF, "algorithm.loss_type": "grpo", "algorithm.importance_sampling_level": "sequence", "algorithm.epsilon": 0.05},
    "trl_delta": {**OFF, "algorithm.delta": 1.3, **TWO},
    "trl_entropy": {"algorithm.entropy_coef": 0.05, "algorithm.loss_type": "grpo", **TWO},
    "trl_temperature": {"rollout.temperature": 0.7, "algorithm.num_iterations": 3},
    "trl_truncated": {"algorithm.mask_truncated": True, "algorithm.loss_type": "grpo"},
    "verl_token_mean": {**OFF, "algorithm.beta": 0.1, **TWO},
    "verl_grpo": {**OFF, "algorithm.loss_type": "grpo", "algorithm.entropy_coef": 0.02, **TWO},
    "verl_norm": {**OFF, "algorithm.loss_type": "dr_grpo", "algorithm.scale_rewards": "none"},
    "verl_gspo": {**OFF, "algorithm.importance_sampling_level": "sequence", "algorithm.epsilon": 0.05, "algorithm.beta": 0.1, "train.steps": 2},
    "verl_cispo": {**OFF, "algorithm.loss_type": "cispo"},
    "verl_kl_k1": {"algorithm.beta": 0.1, "algorithm.kl_estimator": "k1", "train.steps": 2, **TWO},
    "verl_kl_k2": {"algorithm.beta": 0.1, "algorithm.kl_estimator": "k2", "train.steps": 2, **TWO},
    "verl_rloo": {"algorithm.name": "rloo", "algorithm.beta": 0.1, "algorithm.kl_in_reward": True, "train.steps": 2, **TWO},
    "verl_reinforce": {"algorithm.name": "reinforce++", "algorithm.gamma": 0.98, "algorithm.beta": 0.1, "algorithm.kl_in_reward": True, "train.steps": 2},
    "verl_reinforce_baseline": {"algorithm.name": "reinforce++_baseline", **TWO},
}


# ---- data --------------------------------------------------------------------------------------------------------

def load_model(dtype=torch.float64):
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(f"{DATA}/tiny_qwen2_5_vl", dtype=dtype).eval()


class Encoder:
    def __init__(self):
        self.tokenizer = Tokenizer.from_file(f"{DATA}/tiny_qwen2_5_vl/tokenizer.json")
        with open(f"{DATA}/tiny_qwen2_5_vl/preprocessor_config.json", encoding="utf-8") as f:
            settings = json.load(f)
        self.processor = Qwen2VLImageProcessorPil(
            patch_size=14, temporal_patch_size=2, merge_size=2, image_mean=settings["image_mean"], image_std=settings["image_std"],
            size={"shortest_edge": settings["min_pixels"], "longest_edge": settings["max_pixels"]})
        self.image_id = self.tokenizer.token_to_id(IMAGE)
        self.end = self.tokenizer.token_to_id("<|im_end|>")

    def prompt(self, messages):
        if messages[0][0] != "system":
            messages = [("system", ["You are a helpful assistant."])] + messages
        text, pixels, grids = "", [], []
        for role, parts in messages:
            text += f"<|im_start|>{role}\n"
            for part in parts:
                if not part.startswith("images/"):
                    text += part
                    continue
                with Image.open(f"{DATA}/{part}") as f:
                    out = self.processor(images=[ImageOps.exif_transpose(f).convert("RGB")], return_tensors="pt")
                pixels.append(out["pixel_values"])
                grids.append(out["image_grid_thw"])
                text += "<|vision_start|>" + IMAGE * (int(grids[-1].prod()) // 4) + "<|vision_end|>"
            text += "<|im_end|>\n"
        inputs = {"pixel_values": torch.cat(pixels), "image_grid_thw": torch.cat(grids)} if pixels else {}
        return self.tokenizer.encode(text + "<|im_start|>assistant\n").ids, inputs


def content(parts):
    if len(parts) == 1 and not parts[0].startswith("images/"):
        return parts[0]
    return [{"type": "image", "image": "../" + p} if p.startswith("images/") else {"type": "text", "text": p} for p in parts]


def forward(model, encoder, row, temperature):
    """Log-probs and entropies of one row's completion."""
    prompt, inputs = row["prompt"]
    ids = torch.tensor([prompt + row["ids"]])
    inputs = {k: v.to(model.dtype) if k == "pixel_values" else v for k, v in inputs.items()}
    types = (ids == encoder.image_id).int()
    logits = model(input_ids=ids, mm_token_type_ids=types, **inputs).logits[0, len(prompt) - 1:-1] / temperature
    logp = logits.log_softmax(-1)
    return logp.gather(1, ids[0, len(prompt):, None])[:, 0], -(logp.exp() * logp).sum(-1)


def write_rollouts(out, encoder, model):
    rng, generator = random.Random(11), torch.Generator().manual_seed(12)
    plain, off_policy = [], []
    for number, (group, reward, length, ended) in enumerate(ROWS):
        ids = [rng.randrange(encoder.tokenizer.get_vocab_size() - 16) for _ in range(length)]
        if ended:
            ids[-1] = encoder.end
        line = {"id": f"{group}{number}", "group": group, "messages": [{"role": r, "content": content(p)} for r, p in PROMPTS[group]],
                "completion_ids": ids, "reward": reward}
        plain.append(line)
        with torch.no_grad():
            logp = forward(model, encoder, {"prompt": encoder.prompt(PROMPTS[group]), "ids": ids}, 1.0)[0]
        noise = 0.35 * torch.randn(len(ids), generator=generator, dtype=torch.float64)
        if number % 6 == 5:  # one token far off: beyond the dual clip
            noise[0] = -1.6
        off_policy.append({**line, "logprobs": [round(float(x), 6) for x in (logp + noise).clamp(max=0)]})
    for name, lines in (("on_policy", plain), ("off_policy", off_policy)):
        with open(f"{out}/{name}.jsonl", "w", encoding="utf-8") as f:
            f.writelines(json.dumps(line) + "\n" for line in lines)


def read_rollouts(path, encoder):
    groups = collections.OrderedDict()
    with open(path, encoding="utf-8") as f:
        for line in map(json.loads, f):
            groups.setdefault(line["group"], []).append(
                {"prompt": encoder.prompt(PROMPTS[line["group"]]), "ids": line["completion_ids"], "reward": line["reward"],
                 "logprobs": line.get("logprobs"), "truncated": line["completion_ids"][-1] != encoder.end})
    return list(groups.values())


# ---- the peers ---------------------------------------------------------------------------------------------------

def trl_advantages(config, groups):
    rewards = [torch.tensor([r["reward"] for r in g], dtype=torch.float64) for g in groups]
    everything = torch.cat(rewards)
    scale = config.get("algorithm.scale_rewards", "group")
    for group, r in zip(groups, rewards):
        a = r - r.mean()
        if scale != "none":
            a = a / ((r if scale == "group" else everything).std() + 1e-4)
        if bool((r == r[0]).all()):
            a = torch.zeros_like(a)
        for row, value in zip(group, a):
            row["advantage"] = value.expand(len(row["ids"]))


def verl_advantages(config, groups, beta):
    def whiten(rows):
        tokens = torch.cat([r["advantage"] for r in rows])
        mean, var = tokens.mean(), tokens.var()
        for r in rows:
            r["advantage"] = (r["advantage"] - mean) * torch.rsqrt(var + 1e-8)
    rows = [r for g in groups for r in g]
    for r in rows:
        r["token_rewards"] = torch.zeros(len(r["ids"]), dtype=torch.float64)
        if config.get("algorithm.kl_in_reward"):
            r["token_rewards"] -= beta * (r["old"] - r["reference"])
        r["token_rewards"][-1] += r["reward"]
    name = config.get("algorithm.name", "grpo")
    for g in groups:
        scores = torch.stack([r["token_rewards"].sum() for r in g])
        mean, n = scores.mean(), len(g)
        for r, score in zip(g, scores):
            if name == "grpo":
                a = (score - mean) / (scores.std() + 1e-6) if config.get("algorithm.scale_rewards", "group") == "group" else score - mean
            elif name == "rloo":
                a = score * n / (n - 1) - mean * n / (n - 1)
            elif name == "reinforce++_baseline":
                a = score - mean
            else:  # reinforce++
                a, running = torch.zeros_like(r["token_rewards"]), 0.0
                for t in reversed(range(len(a))):
                    running = r["token_rewards"][t] + config["algorithm.gamma"] * running
                    a[t] = running
            if name != "reinforce++" and bool((scores == scores[0]).all()):
                a = torch.zeros(())
            r["advantage"] = a.expand(len(r["ids"]))
    if name.startswith("reinforce++"):
        whiten(rows)


def padded(rows, key):
    return torch.nn.utils.rnn.pad_sequence([r[key] if torch.is_tensor(r[key]) else torch.tensor(r[key]) for r in rows], batch_first=True)


def trl_loss(config, rows, new, entropies, rollout_tokens, updates):
    """TRL's own loss on the rows of one update: one micro-batch, one rank."""
    mask = padded([{"m": torch.full((len(r["ids"]),), 0 if r["left_out"] else 1)} for r in rows], "m")
    args = types.SimpleNamespace(delta=config.get("algorithm.delta"), use_bias_correction_kl=False, sapo_temperature_pos=1.0, sapo_temperature_neg=1.05,
                                 steps_per_generation=updates)
    accelerator = types.SimpleNamespace(num_processes=1, gather=lambda x: x.reshape(-1), reduce=lambda x, reduction: x, sync_gradients=True)
    accelerator.gather_for_metrics = accelerator.gather
    epsilon = config.get("algorithm.epsilon", 0.2)
    entropy = config.get("algorithm.entropy_coef", 0.0)
    stub = types.SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (padded([{"x": x} for x in new], "x"), padded([{"x": x} for x in entropies], "x"), None),
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, beta=config.get("algorithm.beta", 0.0), args=args,
        importance_sampling_level=config.get("algorithm.importance_sampling_level", "token"), loss_type=config.get("algorithm.loss_type", "dapo"),
        epsilon_low=epsilon, epsilon_high=config.get("algorithm.epsilon_high", epsilon), use_vllm=False, model=types.SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1, max_completion_length=config["rollout.max_completion_length"], accelerator=accelerator,
        _entropy_bonus_enabled=entropy > 0, use_adaptive_entropy=False, entropy_coef=entropy,
        _metrics=collections.defaultdict(lambda: collections.defaultdict(list)))
    inputs = {"prompt_ids": torch.zeros(len(rows), 1), "prompt_mask": torch.ones(len(rows), 1), "completion_ids": torch.zeros_like(mask),
              "completion_mask": mask, "advantages": padded(rows, "advantage"), "num_items_in_batch": torch.tensor(float(rollout_tokens))}
    if rows[0].get("old") is not None:
        inputs["old_per_token_logps"] = padded(rows, "old")
    if stub.beta:
        inputs["ref_per_token_logps"] = padded(rows, "reference")
    return GRPOTrainer._compute_loss(stub, None, inputs)


def verl_loss(config, rows, new, entropies):
    longest, tokens = config["rollout.max_completion_length"], sum(len(r["ids"]) for r in rows)
    mode = {"dapo": "token-mean", "cispo": "token-mean", "grpo": "seq", "dr_grpo": "norm"}[config.get("algorithm.loss_type", "dapo")]

    def agg(losses, how):
        if how == "token-mean":
            return torch.cat(losses).sum() / tokens
        if how == "seq":
            return torch.stack([x.mean() for x in losses]).mean()
        return torch.cat(losses).sum() / longest
    low = config.get("algorithm.epsilon", 0.2)
    high = config.get("algorithm.epsilon_high", low)
    sequence = config.get("algorithm.importance_sampling_level") == "sequence"
    policy, kl = [], []
    for r, logp in zip(rows, new):
        old = r["old"] if r.get("old") is not None else logp.detach()
        a = r["advantage"]
        if sequence:
            ratio = (logp - logp.detach() + (logp - old).mean().detach()).clamp(max=10.0).exp()
            policy.append(torch.maximum(-a * ratio, -a * ratio.clamp(1 - low, 1 + high)))
        else:
            ratio = (logp - old).clamp(-20, 20).exp()
            if config.get("algorithm.loss_type") == "cispo":
                policy.append(-ratio.clamp(1 - low, 1 + high).detach() * a * logp)
            else:
                both = torch.maximum(-a * ratio, -a * ratio.clamp(1 - low, 1 + high))
                policy.append(torch.where(a < 0, torch.minimum(-a * 3.0, both), both))
        if config.get("algorithm.beta", 0):
            d = r["reference"] - logp
            kind = config.get("algorithm.kl_estimator", "k3")
            c = d.clamp(-20, 20)
            kl.append({"k1": -d, "k2": 0.5 * d ** 2, "k3": (c.exp() - c - 1).clamp(-10, 10)}[kind])
    loss = agg(policy, "seq" if sequence else mode)
    if kl and not config.get("algorithm.kl_in_reward"):
        loss = loss + config["algorithm.beta"] * agg(kl, mode)
    if config.get("algorithm.entropy_coef", 0):
        loss = loss - config["algorithm.entropy_coef"] * agg(entropies, mode)
    return loss


def make_optimizer(model, config, peer):
    decayed = {n for n, _ in model.named_parameters()} if peer == "verl" else set(Trainer.get_decay_parameter_names(None, model))
    groups = [{"params": [p for n, p in model.named_parameters() if (n in decayed) == wanted],
               "weight_decay": config["train.weight_decay"] if wanted else 0.0} for wanted in (True, False)]
    return torch.optim.AdamW(groups, lr=config["train.learning_rate"], betas=(0.9, 0.999), eps=1e-8)


# ---- a run -------------------------------------------------------------------------------------------------------

def hub_name(name):
    return name.replace("model.visual.", "visual.").replace("model.language_model.", "model.")


def sketch(change):
    """Count sketch of all tensors, flattened and joined in the order of their hub names: element i is added to bucket
    h mod SKETCH with the sign of h's highest bit, h = splitmix64(i)."""
    flat = torch.cat([change[n].reshape(-1) for n in sorted(change)]).numpy()
    with np.errstate(over="ignore"):
        h = np.arange(len(flat), dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        h ^= h >> np.uint64(31)
    sign = np.where(h >> np.uint64(63), -1.0, 1.0)
    return np.bincount((h % np.uint64(SKETCH)).astype(np.int64), weights=flat * sign, minlength=SKETCH)


def run_case(name, overrides, out, encoder):
    peer = name.split("_")[0]
    config = {**BASE, **overrides}
    model, reference = load_model(), load_model()
    before = {hub_name(n): p.detach().clone() for n, p in model.named_parameters()}
    optimizer = make_optimizer(model, config, peer)
    temperature, beta = config["rollout.temperature"], config.get("algorithm.beta", 0.0)
    losses, norms = [], []
    for _ in range(config["train.steps"]):
        groups = read_rollouts(f"{out}/{config.get('file', 'on_policy.jsonl')}", encoder)
        rows = [r for g in groups for r in g]
        per_update = config.get("train.prompts_per_update", len(groups))
        updates = len(groups) // per_update
        several = updates > 1 or config.get("algorithm.num_iterations", 1) > 1 or config.get("algorithm.kl_in_reward")
        with torch.no_grad():
            for r in rows:
                r["left_out"] = bool(config.get("algorithm.mask_truncated")) and r["truncated"]
                r["old"] = torch.tensor(r["logprobs"], dtype=torch.float64) if r["logprobs"] else forward(model, encoder, r, temperature)[0] if several else None
                r["reference"] = forward(reference, encoder, r, temperature)[0] if beta else None
        trl_advantages(config, groups) if peer == "trl" else verl_advantages(config, groups, beta)
        rollout_tokens = sum(len(r["ids"]) for r in rows if not r["left_out"])
        step_losses, step_norms = [], []
        for _ in range(config.get("algorithm.num_iterations", 1)):
            for first in range(0, len(groups), per_update):
                part = [r for g in groups[first:first + per_update] for r in g]
                results = [forward(model, encoder, r, temperature) for r in part]
                new, entropies = [x[0] for x in results], [x[1] for x in results]
                loss = trl_loss(config, part, new, entropies, rollout_tokens, updates) if peer == "trl" else verl_loss(config, part, new, entropies)
                optimizer.zero_grad()
                loss.backward()
                step_norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), config["train.max_grad_norm"])))
                step_losses.append(float(loss.detach()))
                optimizer.step()
        losses.append(sum(step_losses) / len(step_losses))
        norms.append(sum(step_norms) / len(step_norms))
    change = {hub_name(n): p.detach() - before[hub_name(n)] for n, p in model.named_parameters()}
    norm = float(torch.sqrt(sum((c ** 2).sum() for c in change.values())))
    print(f"{name:26} loss {losses} grad norm {norms} |change| {norm:.6g}")
    settings = {**{k: v for k, v in config.items() if k != "file"}, "algorithm.compat": peer}
    return {"name": name, "rollouts": config.get("file", "on_policy.jsonl"), "config": settings, "loss": losses, "grad_norm": norms, "change_norm": norm,
            "change_sketch": [float(f"{x:.6g}") for x in sketch(change)]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=f"{DATA}/training")
    parser.add_argument("--only", help="one case, to look at")
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.makedirs(args.out, exist_ok=True)
    encoder = Encoder()
    write_rollouts(args.out, encoder, load_model())
    cases = [run_case(name, overrides, args.out, encoder) for name, overrides in CASES.items() if args.only in (None, name)]
    if args.only:
        return
    with open(f"{args.out}/cases.json", "w", encoding="utf-8") as f:
        json.dump({"versions": {"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__}, "cases": cases}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
