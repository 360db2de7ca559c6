#!/usr/bin/env python3
"""The measurements of scripts/bench_vs_trl.sh: ssl4rl, TRL and transformers in turn, medians, one JSON line a size.

Shapes: 4 prompts of two images (about 235 tokens) x 8 samples of 64 tokens, float32, 2 threads. Ratios are the peer's time
over ours in the same run. `step` is a whole GRPO step against TRL; `generation` is tokens a second of the rollout (vision,
prefill, decoding, sampling) against transformers' generate on repeated rows, as TRL calls it; `update` is our whole update
(optimiser included) against transformers' forward and backward. `mfu_update` is the update's useful work with shared prompts over
the sgemm peak that `ssl4rl bench` measures before each of our runs (`ours.sgemm_peak_gflops`). `startup_seconds` is what passes before
the first step: ours until the line that says so, TRL's the whole process but its steps (about a second of it measures the peak).

On an AMD processor MKL gives PyTorch a slower path than it gives us; --like-for-like makes a small library in a temporary folder and
preloads it to the peers, so that both take the same one (docs/performance.md).
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PROMPTS, SAMPLES, LENGTH = 4, 8, 64
CONFIG = """
run: {{name: bench, output_dir: {out}}}
model: {{path: {model}, min_pixels: 28224, max_pixels: 63504}}
data: {{images: {images}, holdout_fraction: 0}}
tasks: [{{name: rotation, preset: paper}}]
prompt:
  style: answer
  template: >-
    The second image is the first image rotated counter-clockwise. By how many degrees was it rotated? {{angles}}. Think first.
rollout: {{num_generations: {samples}, max_completion_length: {length}}}
train: {{steps: {steps}, prompts_per_step: {prompts}, micro_batch_tokens: 16384}}
log: {{completions_every: 0, tensorboard: false}}
"""


PROGRAM = "build/release/bin/ssl4rl"


def last_json(command: list[str], environment: dict) -> dict:
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return {**json.loads(done.stdout.strip().splitlines()[-1]), "process_seconds": time.monotonic() - begun}


def answers_for_intel(folder: str) -> str:
    """A library whose one function takes the place of MKL's question for the processor's vendor."""
    source, library = os.path.join(folder, "vendor.c"), os.path.join(folder, "vendor.so")
    with open(source, "w") as file:
        file.write("int mkl_serv_intel_cpu_true(void) { return 1; }\n")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def ours(model: str, images: str, steps: int, threads: int) -> dict:
    shape = ["--prompts", "1", "--num-generations", "1", "--new-tokens", "2", "--image-size", "56", "--repeats", "1"]
    peak = last_json([PROGRAM, "bench", "--quiet", "--json", "--threads", str(threads), "--model", model, *shape], dict(os.environ))
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "bench.yaml")
        with open(config, "w") as file:
            file.write(CONFIG.format(out=folder, model=os.path.abspath(model), images=os.path.abspath(images), steps=steps + 1, prompts=PROMPTS,
                                     samples=SAMPLES, length=LENGTH))
        begun, startup, said = time.monotonic(), None, []
        with subprocess.Popen([PROGRAM, "train", "--threads", str(threads), "--config", config], stderr=subprocess.PIPE, text=True) as process:
            for line in process.stderr:
                said.append(line)
                if startup is None and " starting " in line:
                    startup = time.monotonic() - begun
        if process.returncode:
            sys.exit("".join(said[-5:]))
        with open(os.path.join(folder, "bench", "metrics.jsonl")) as file:
            lines = [json.loads(line) for line in file][1:]  # the first step warms up
    middle = {key: statistics.median(line[key] for line in lines) for key in ("time/total", "time/rollout", "time/update", "tokens", "completions/mean_length")}
    return {**middle, "memory": lines[-1]["memory"], "startup": startup, "peak": peak["machine"]["sgemm_gflops"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=["tiny", "small", "medium"], required=True)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4, help="steps of ours that count, each repeat")
    parser.add_argument("--peer-steps", type=int, default=2, help="steps of the peers that count, each repeat; one more warms up")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--like-for-like", action="store_true", help="give the peers MKL's AVX-512 path on an AMD processor too")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    environment = {**os.environ, "OMP_NUM_THREADS": str(a.threads)}
    folder = tempfile.mkdtemp()
    if a.like_for_like:
        environment["LD_PRELOAD"] = answers_for_intel(folder)
    model = os.path.join(folder, a.size)
    last_json([sys.executable, f"{a.peers}/make_model.py", "--size", a.size, "--seed", "0", "--out", model], environment)
    micro = "32" if a.size == "tiny" else "8"
    shape = ["--model", model, "--images", a.images, "--prompts", str(PROMPTS), "--num-generations", str(SAMPLES), "--max-completion-length", str(LENGTH)]
    repeats = ["--repeats", str(a.peer_steps)]
    mine, trl, generate, update = [], [], [], []
    for _ in range(a.repeats):
        mine.append(ours(model, a.images, a.steps, a.threads))
        trl.append(last_json([sys.executable, f"{a.peers}/trl_grpo.py", *shape, "--steps", str(a.peer_steps), "--micro-batch", micro], environment))
        mine.append(ours(model, a.images, a.steps, a.threads))
        generate.append(last_json([sys.executable, f"{a.peers}/hf_generate.py", *shape, "--mode", "generate", "--expand", "rows", *repeats], environment))
        update.append(last_json([sys.executable, f"{a.peers}/hf_generate.py", *shape, "--mode", "update", "--sharing", "none", "--logits", "completion",
                                 "--micro-batch", micro, *repeats], environment))
    shutil.rmtree(folder)

    def median(rows, pick):
        return statistics.median(pick(row) for row in rows)

    peak = max(r["peak"] for r in mine)
    shared_update = 3 * generate[0]["useful_gflop_if_prompts_shared"]
    steps = lambda r: sum(r["seconds_per_step_all"]["wall"])
    us = {"step_seconds": median(mine, lambda r: r["time/total"]), "generation_seconds": median(mine, lambda r: r["time/rollout"]),
          "update_seconds": median(mine, lambda r: r["time/update"]), "generation_tokens_per_second": median(mine, lambda r: r["tokens"] / r["time/rollout"]),
          "mean_length": median(mine, lambda r: r["completions/mean_length"]), "peak_memory_gib": max(r["memory"] for r in mine),
          "startup_seconds": median(mine, lambda r: r["startup"]), "sgemm_peak_gflops": peak}
    peer = {"step_seconds": median(trl, lambda r: r["seconds_per_step"]), "generation_tokens_per_second": median(generate, lambda r: r["generated_tokens_per_second"]["wall"]),
            "update_seconds": median(update, lambda r: r["times"]["wall"]["total"]), "peak_memory_gib": max(r["peak_rss_gib"] for r in trl),
            "startup_seconds": median(trl, lambda r: r["process_seconds"] - steps(r)),
            "sgemm_peak_gflops": median(generate + update, lambda r: r["sgemm_peak_gflops"]["wall"]), "micro_batch": int(micro)}
    result = {"size": a.size, "step_ratio": peer["step_seconds"] / us["step_seconds"],
              "generation_ratio": us["generation_tokens_per_second"] / peer["generation_tokens_per_second"],
              "update_ratio": peer["update_seconds"] / us["update_seconds"], "memory_ratio": us["peak_memory_gib"] / peer["peak_memory_gib"],
              "mfu_update": shared_update / us["update_seconds"] / peak, "mfu_update_peak": "ours.sgemm_peak_gflops",
              "like_for_like": a.like_for_like, "ours": us, "trl": peer}
    if a.json:
        print(json.dumps(result))
        return
    print(f"{a.size}: step {us['step_seconds']:.2f} s against {peer['step_seconds']:.2f} s of TRL: {result['step_ratio']:.1f}x")
    print(f"  generation {us['generation_tokens_per_second']:.0f} against {peer['generation_tokens_per_second']:.0f} tokens/s: {result['generation_ratio']:.1f}x")
    print(f"  update {us['update_seconds']:.2f} against {peer['update_seconds']:.2f} s: {result['update_ratio']:.1f}x, {100 * result['mfu_update']:.0f} % of the sgemm peak of {peak:.0f} GFLOP/s")
    print(f"  peak memory {us['peak_memory_gib']:.2f} against {peer['peak_memory_gib']:.2f} GiB: {result['memory_ratio']:.2f}x")
    print(f"  start-up {us['startup_seconds']:.1f} against {peer['startup_seconds']:.1f} s")


if __name__ == "__main__":
    main()
