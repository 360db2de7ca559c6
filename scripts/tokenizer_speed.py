#!/usr/bin/env python3
"""Tokenizer against Hugging Face's on a vocabulary of the published size: ids, and speed on one thread (development only).

    python3 scripts/tokenizer_speed.py --binary-dir build/release/bin [--work DIR] [--fuzz N]

Trains a byte-level BPE of 151,643 entries on this machine's Python files and drawn texts in several scripts (two minutes,
once; kept in --work), then compares on files that it has not seen: ids of all documents, load time, encoding and decoding,
and on N drawn texts (code points of every plane, white space of all kinds, added tokens, broken pieces) through
`ssl4rl score`.
"""
import argparse
import glob
import hashlib
import json
import os
import random
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from make_fixtures import ADDED, SPLIT, STRINGS, write_json

VOCABULARY = 151643


def make_tokenizer(work):
    rng = random.Random(1)
    roots = {os.path.dirname(os.path.dirname(tokenizers.__file__)), os.path.dirname(os.__file__)}
    files = sorted({f for root in roots for f in glob.glob(f"{root}/**/*.py", recursive=True) if os.path.getsize(f) < 2_000_000})
    files += sorted(f for f in glob.glob("/usr/share/i18n/locales/*") if os.path.isfile(f))
    rng.shuffle(files)
    held_out, files = files[:200], files[200:]

    def read(name):
        try:
            with open(name, encoding="utf-8") as f:
                return f.read()
        except (UnicodeDecodeError, OSError):
            return ""

    def texts():
        size = 0
        for name in files:
            text = read(name)
            size += len(text)
            yield text
            if size > 40_000_000:
                break
        syllables = [c + v for c in "b c d f g h k l m n p r s t v w st tr pl gr ch sh ß ñ ж ш щ".split() for v in "a e i o u é ü å я ю о".split()]
        for _ in range(60000):
            yield " ".join("".join(rng.choice(syllables) for _ in range(rng.randint(1, 5))) for _ in range(12))
        for low, high in ((0x4E00, 0x9FFF), (0x3041, 0x30FF), (0xAC00, 0xD7A3), (0x600, 0x6FF), (0x900, 0x97F), (0x1F300, 0x1F6FF)):
            for _ in range(4000):
                yield " ".join("".join(chr(min(high, low + int(rng.expovariate(1 / 300)))) for _ in range(rng.randint(1, 4))) for _ in range(20))
    t = Tokenizer(models.BPE(dropout=None, unk_token=None, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False, byte_fallback=False))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    t.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    t.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    t.train_from_iterator(texts(), trainers.BpeTrainer(vocab_size=VOCABULARY, min_frequency=1, special_tokens=[], show_progress=False,
                                                       initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    for text, special in ADDED:
        t.add_tokens([AddedToken(text, special=special, normalized=False)])
    t.save(f"{work}/tokenizer.json")
    with open(f"{work}/text.txt", "w", encoding="utf-8") as f:
        f.write("".join(read(name) for name in held_out))


def documents_of(data):
    documents, begin = [], 0
    while begin < len(data):
        end = data.find(b"\n", begin + 4096) if begin + 4096 < len(data) else -1
        stop = len(data) if end < 0 else end + 1
        documents.append(data[begin:stop].decode())
        begin = stop
    return documents


def fuzz(binary, work, tokenizer, count):
    import torch
    from safetensors.torch import save_file
    from transformers import Qwen2Config, Qwen2ForCausalLM
    folder = f"{work}/model"
    if not os.path.exists(f"{folder}/model.safetensors"):
        os.makedirs(folder, exist_ok=True)
        torch.manual_seed(0)
        Qwen2ForCausalLM(Qwen2Config(vocab_size=tokenizer.get_vocab_size(), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
                                     num_key_value_heads=1, tie_word_embeddings=True)).save_pretrained(folder)
        if not os.path.exists(f"{folder}/tokenizer.json"):
            os.symlink(f"{work}/tokenizer.json", f"{folder}/tokenizer.json")
    rng = random.Random(11)
    spaces = [" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\u0085", "\x1c", "\x0b", "\u200b", "\ufeff"]

    def draw():
        parts = []
        for _ in range(rng.randrange(1, 24)):
            kind = rng.randrange(8)
            if kind == 0:
                parts.append("".join(chr(rng.choice([rng.randrange(0x20, 0x7F), rng.randrange(0x80, 0x800), rng.randrange(0x800, 0xD800)])) for _ in range(rng.randrange(1, 6))))
            elif kind == 1:
                code = rng.randrange(0x110000)
                parts.append(chr(code) if not 0xD800 <= code < 0xE000 else "x")
            elif kind == 2:
                parts.append(rng.choice(spaces) * rng.randrange(1, 4))
            elif kind == 3:
                parts.append(rng.choice(ADDED)[0][rng.choice([0, 0, 0, 1]):])
            elif kind == 4:
                parts.append(rng.choice(STRINGS))
            elif kind == 5:
                parts.append(rng.choice("aeiouAEIOUncNC한가") + "".join(chr(rng.randrange(0x300, 0x370)) for _ in range(rng.randrange(0, 3))))
            elif kind == 6:
                parts.append(rng.choice(["'s", "'LL", "'ve", "'ſ", "'", "don't", "1234", "٣", "Ⅷ", "½"]))
            else:
                parts.append(tokenizer.id_to_token(rng.randrange(VOCABULARY)).replace("Ġ", " "))
        return "".join(parts)
    texts = [draw() for _ in range(count)]
    with open(f"{work}/fuzz.jsonl", "w", encoding="utf-8") as f:
        f.writelines(json.dumps({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": text}], "completion": "x"}) + "\n" for text in texts)
    run = subprocess.run([f"{binary}/ssl4rl", "score", "--model", folder, "--input", f"{work}/fuzz.jsonl", "--output", f"{work}/fuzz_scores.jsonl", "--quiet"],
                         capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(run.stderr)
    differing = 0
    with open(f"{work}/fuzz_scores.jsonl", encoding="utf-8") as f:
        for text, line in zip(texts, f, strict=True):
            ids = json.loads(line)["prompt_ids"]
            expected = tokenizer.encode(f"<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n").ids
            if ids != expected:
                differing += 1
                if differing <= 5:
                    print("differs:", ascii(text), ids, expected)
    print(f"fuzz: {count} drawn texts, {sum(map(len, texts))} characters, {differing} with other ids")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary-dir", default="build/release/bin")
    parser.add_argument("--work", default="/tmp/ssl4rl-tokenizer")
    parser.add_argument("--fuzz", type=int, default=20000)
    options = parser.parse_args()
    os.makedirs(options.work, exist_ok=True)
    path = f"{options.work}/tokenizer.json"
    if not os.path.exists(path):
        make_tokenizer(options.work)
    start = time.process_time()
    tokenizer = Tokenizer.from_file(path)
    load = time.process_time() - start
    with open(f"{options.work}/text.txt", "rb") as f:
        data = f.read()
    documents = documents_of(data)
    best = decode = float("inf")
    for _ in range(3):
        start = time.process_time()
        encoded = [tokenizer.encode(d).ids for d in documents]
        best = min(best, time.process_time() - start)
        start = time.process_time()
        for ids in encoded:
            tokenizer.decode(ids, skip_special_tokens=True)
        decode = min(decode, time.process_time() - start)
    digest = hashlib.sha256("".join(f"{i} " for ids in encoded for i in ids).encode()).hexdigest()
    print(f"{len(data) / 1e6:.2f} MB in {len(documents)} documents; vocabulary {tokenizer.get_vocab_size()}")
    print(f"tokenizers {tokenizers.__version__}: load {load * 1e3:.0f} ms of processor time, encode {len(data) / best / 1e6:.2f} MB/s, decode {len(data) / decode / 1e6:.2f} MB/s")
    print(f"tokens {sum(map(len, encoded))} sha256 {digest}")
    sys.stdout.flush()
    subprocess.run([f"{options.binary_dir}/tokenizer_benchmark", path, f"{options.work}/text.txt"], check=True)
    if options.fuzz:
        fuzz(options.binary_dir, options.work, tokenizer, options.fuzz)


if __name__ == "__main__":
    main()
