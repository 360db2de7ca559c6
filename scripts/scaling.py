#!/usr/bin/env python3
"""What a step costs on many GPUs, calculated (docs/scaling.md): nothing here is a measurement.

    scripts/scaling.py [--params 3.75e9] [--link 40] [...]      python3 alone; --help lists the assumptions

Data parallel training as the program does it: gradients reduce-scattered in float32, bfloat16 weights all-gathered, the
optimiser's state split over the ranks (distributed.shard optimizer, --stage 1) or the weights and gradients too (parameters,
--stage 3), nothing overlapped. Weak scaling: every GPU has the same number of prompts.
"""
import argparse
import math
import random


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    number = dict(type=float)
    parser.add_argument("--params", default=3.75e9, help="parameters, all trained (Qwen2.5-VL-3B)", **number)
    parser.add_argument("--reference", default=1, help="1: a reference model is held (beta > 0)", **number)
    parser.add_argument("--stage", default=1, type=int, choices=(1, 3), help="what is sharded: 1 optimizer, 3 parameters")
    parser.add_argument("--outside", default=0.31e9, help="parameters outside of blocks: embedding, head (stage 3)", **number)
    parser.add_argument("--blocks", default=68, help="blocks: decoder layers and the tower's (stage 3)", **number)
    parser.add_argument("--micro-batch-tokens", default=16384, help="of one pass (stage 3)", **number)
    parser.add_argument("--prompts", default=32, help="prompts a GPU and step", **number)
    parser.add_argument("--samples", default=8, help="samples a prompt", **number)
    parser.add_argument("--prompt-tokens", default=500, **number)
    parser.add_argument("--mean-tokens", default=250, help="mean length of a sample", **number)
    parser.add_argument("--sigma", default=0.5, help="of the logarithm of a sample's length (log-normal)", **number)
    parser.add_argument("--longest", default=1024, help="max_completion_length", **number)
    parser.add_argument("--updates", default=2, help="optimiser updates a step", **number)
    parser.add_argument("--flops", default=990e12, help="peak of a GPU, dense bfloat16", **number)
    parser.add_argument("--mfu", default=0.35, help="share of it that the update reaches", **number)
    parser.add_argument("--hbm", default=3.35e12, help="bytes/s of a GPU's memory", **number)
    parser.add_argument("--hbm-share", default=0.5, help="share of it that decoding reaches", **number)
    parser.add_argument("--kv-bytes", default=36864, help="bytes of keys and values a token (36 layers, 2 heads of 128, bfloat16)", **number)
    parser.add_argument("--node", default=8, help="GPUs a node", **number)
    parser.add_argument("--nvlink", default=300e9, help="bytes/s a GPU within a node", **number)
    parser.add_argument("--link", default=40e9, help="bytes/s a GPU between nodes (400 Gbit/s a GPU, 80 %%)", **number)
    parser.add_argument("--hop", default=8e-6, help="seconds of latency a hop of a ring", **number)
    parser.add_argument("--bucket", default=16 * 2**20, help="values of a message (train/shards.cpp)", **number)
    parser.add_argument("--disk", default=2e9, help="bytes/s to the checkpoint's disk, SHA-256 included", **number)
    parser.add_argument("--draws", default=200, help="steps drawn for the slowest rank", **number)
    return parser.parse_args()


def ring(a, ranks, payload, messages):
    """Seconds of a reduce-scatter or all-gather of `payload` bytes: a ring over all GPUs, as slow as its slowest link."""
    if ranks == 1:
        return 0.0
    rate = a.nvlink if ranks <= a.node else a.link
    return payload * (ranks - 1) / ranks / rate + messages * (ranks - 1) * a.hop


def exchange(a, tokens):
    """(bytes, messages) that all ranks exchange in a step, each way's rings together."""
    whole = math.ceil(a.params / a.bucket)
    if a.stage == 1:  # an update: float32 gradients, bfloat16 weights
        return a.updates * (4 + 2) * a.params, a.updates * 2 * whole
    inside = a.params - a.outside
    of_blocks, of_outside = a.blocks * math.ceil(inside / a.blocks / a.bucket), math.ceil(a.outside / a.bucket)
    passes = a.updates * math.ceil(tokens / a.updates / a.micro_batch_tokens)  # forward, backward, gradients
    scorings = (1 if a.updates > 1 else 0) + a.reference
    scored = scorings * math.ceil(tokens / a.micro_batch_tokens)  # forward
    sent = passes * (2 + 2 + 4) * inside + scored * 2 * inside + (a.updates * (2 + 4) + scorings * 2) * a.outside + 2 * a.params
    messages = (3 * passes + scored) * of_blocks + (2 * a.updates + scorings) * of_outside + whole
    return sent, messages


def lengths(a, generator):
    mu = math.log(a.mean_tokens) - a.sigma**2 / 2
    return min(a.longest, generator.lognormvariate(mu, a.sigma))


def rollout_seconds(a, ranks, generator):
    """The slowest rank's decoding, by simulation: (mean over ranks, slowest rank), seconds a step."""
    count = int(a.prompts * a.samples)
    mean = slowest = 0.0
    for _ in range(int(a.draws)):
        times = []
        for _ in range(min(ranks, 64)):  # with more the slowest hardly changes: it has a sample of the longest length
            drawn = sorted(lengths(a, generator) for _ in range(count))
            # Each decode step reads the weights once and the keys and values of all running samples.
            steps = drawn[-1]
            kept = sum(l * (a.prompt_tokens / a.samples + l / 2) for l in drawn) * a.kv_bytes
            times.append((steps * 2 * a.params + kept) / (a.hbm * a.hbm_share))
        mean += sum(times) / len(times) / a.draws
        slowest += max(times) / a.draws
    return mean, slowest


def row(a, ranks, generator):
    tokens = a.prompts * (a.prompt_tokens + a.samples * a.mean_tokens)
    compute = tokens * a.params * (8 + 2 * (1 if a.updates > 1 else 0) + 2 * a.reference) / (a.flops * a.mfu)
    mean, slowest = rollout_seconds(a, ranks, generator)
    payload, messages = exchange(a, tokens)
    sent = payload * (ranks - 1) / ranks
    communication = ring(a, ranks, payload, messages)
    latency = messages * max(0, ranks - 1) * a.hop
    outcomes = ranks * a.prompts * a.samples * a.mean_tokens * 12
    step = compute + slowest + communication
    state = 2 * a.params + 12 * a.params
    collected = (12 if a.stage == 1 else 14) * a.params
    gather = ring(a, ranks, collected, math.ceil(a.params / a.bucket))
    memory = (2 + 4 + 2 * a.reference + 12 / ranks) * a.params
    if a.stage == 3 and ranks > 1:  # in an update gradients, and whole what is outside and in a block; while sampling whole weights
        split = (2 + 2 * a.reference + 12) / ranks * a.params
        block = (a.params - a.outside) / a.blocks
        memory = split + max(4 / ranks * a.params + (2 + 4) * (a.outside + block), 2 * a.params)
    return [f"{ranks:,}", f"{memory / 1e9:.0f}", f"{sent / 1e9:.1f}", f"{compute:.1f}", f"{mean:.1f} / {slowest:.1f}",
            f"{communication:.2f} ({latency:.2f})", f"{outcomes / 1e6:.0f}", f"{step:.1f}",
            f"{100 * (compute + mean) / step:.0f} %", f"{gather:.1f} + {state / a.disk:.0f}"]


def main():
    a = arguments()
    generator = random.Random(0)
    print("| GPUs | GB a GPU | GB sent a GPU and step | update s | rollout s: mean / slowest rank | exchange s (of it latency) "
          "| outcomes MB | step s | efficiency | checkpoint s: gather + write |")
    print("|" + "---|" * 10)
    for ranks in (1, 2, 4, 8, 16, 64, 256, 1024):
        print("| " + " | ".join(row(a, ranks, generator)) + " |")


if __name__ == "__main__":
    main()
