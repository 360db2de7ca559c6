#!/usr/bin/env python3
"""A benchmark of `ssl4rl eval`: an MMBench-shaped file, answered by ssl4rl and by a plain loop over transformers, batch 1.

    scripts/bench_eval.py PATH/TO/ssl4rl MODEL_DIR IMAGES_DIR OUT_DIR [QUESTIONS [MAX_NEW_TOKENS [LOOP]]]

MODEL_DIR and IMAGES_DIR may come from `ssl4rl init --preset demo`. Writes OUT_DIR/MMBench_DEV_EN.tsv (QUESTIONS rows, default 1000:
a quarter of them base questions, the rest their rotations), runs `ssl4rl eval`, asks the first LOOP rows (default 100) of
transformers with greedy decoding in float32, compares the texts, and prints one JSON line. Development only.
"""
import base64
import csv
import io
import json
import os
import random
import subprocess
import sys
import time

PROGRAM, MODEL, IMAGES, OUT = sys.argv[1:5]
QUESTIONS = int(sys.argv[5]) if len(sys.argv) > 5 else 1000
MAX_NEW_TOKENS = int(sys.argv[6]) if len(sys.argv) > 6 else 32
LOOP = int(sys.argv[7]) if len(sys.argv) > 7 else 100

WORDS = ['a red square', 'a blue disc', 'two stars', 'nothing', 'a green ring', 'the number 4', 'a tree', 'a house']
CATEGORIES = [('image_scene', 'coarse_perception'), ('object_localization', 'finegrained_perception (instance-level)'),
              ('attribute_comparison', 'finegrained_perception (cross-instance)'), ('physical_relation', 'relation_reasoning')]


def write_tsv(path):
    rng = random.Random(5)
    files = sorted(os.path.join(IMAGES, f) for f in os.listdir(IMAGES))
    rows, header = [], 'index question hint A B C D answer category image source l2-category comment split'.split()
    base = []
    for i in range(QUESTIONS // 4):
        with open(rng.choice(files), 'rb') as f:
            picture = base64.b64encode(f.read()).decode()
        category, l2 = rng.choice(CATEGORIES)
        base.append((i, f'What can be seen in picture {i}?', rng.choice(['', 'Look closely.']), rng.sample(WORDS, 4), rng.randrange(4), category, picture, l2))
    for turn in range(4):
        for i, question, hint, options, right, category, picture, l2 in base:
            turned = [options[(k - turn) % 4] for k in range(4)]
            rows.append([i + turn * 1000000, question, hint, *turned, 'ABCD'[(right + turn) % 4], category, picture if turn == 0 else i, 'drawn', l2, '', 'dev'])
    with open(path, 'w', newline='') as f:
        writer = csv.writer(f, delimiter='\t')
        writer.writerow(header)
        writer.writerows(rows)


def ask_transformers(prompts):
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32).eval()
    tokenizer, pixels = AutoTokenizer.from_pretrained(MODEL), Qwen2VLImageProcessorPil.from_pretrained(MODEL)
    with open(os.path.join(MODEL, 'chat_template.json')) as f:
        template = json.load(f)['chat_template']
    texts, seconds = {}, 0.0
    with torch.no_grad():
        for n, line in enumerate(prompts):
            if n == 1:
                seconds = 0.0  # the first is a warm-up
            started = time.perf_counter()
            parts = line['messages'][0]['content']
            images = [Image.open(io.BytesIO(base64.b64decode(p['image'].split(',')[1]))).convert('RGB') for p in parts if p['type'] == 'image']
            chat = [{'role': 'user', 'content': [{'type': p['type']} if p['type'] == 'image' else p for p in parts]}]
            text = tokenizer.apply_chat_template(chat, chat_template=template, add_generation_prompt=True, tokenize=False)
            seen = pixels(images, return_tensors='pt')
            for t, h, w in seen['image_grid_thw'].tolist():
                text = text.replace('<|image_pad|>', '<|image|>' * (t * h * w // 4), 1)
            ids = tokenizer(text.replace('<|image|>', '<|image_pad|>'), return_tensors='pt').input_ids
            out = model.generate(input_ids=ids, mm_token_type_ids=(ids == model.config.image_token_id).int(), **seen, do_sample=False, max_new_tokens=MAX_NEW_TOKENS)
            texts[line['index']] = tokenizer.decode(out[0][ids.shape[1]:], skip_special_tokens=True)
            seconds += time.perf_counter() - started
    return texts, seconds / (len(prompts) - 1)


os.makedirs(OUT, exist_ok=True)
write_tsv(os.path.join(OUT, 'MMBench_DEV_EN.tsv'))
common = ['eval', '--bench', 'mmbench', '--data', OUT, '--quiet']
subprocess.run([PROGRAM, *common, '--dry-run', '--output', os.path.join(OUT, 'dry')], check=True)
with open(os.path.join(OUT, 'dry/mmbench/prompts.jsonl')) as f:
    lines = [json.loads(line) for line in f]
started = time.perf_counter()
subprocess.run([PROGRAM, *common, '--model', MODEL, '--output', os.path.join(OUT, 'run'), '--max-new-tokens', str(MAX_NEW_TOKENS)], check=True, stdout=subprocess.DEVNULL)
seconds = time.perf_counter() - started
with open(os.path.join(OUT, 'run/mmbench/predictions.jsonl')) as f:
    ours = {p['index']: p for p in map(json.loads, f) if 'index' in p}
result = {'questions': len(lines), 'max_new_tokens': MAX_NEW_TOKENS, 'ssl4rl_seconds': round(seconds, 2), 'ssl4rl_questions_per_second': round(len(lines) / seconds, 2),
          'mean_prompt_tokens': round(sum(p['prompt_tokens'] for p in ours.values()) / len(ours), 1), 'mean_tokens': round(sum(p['tokens'] for p in ours.values()) / len(ours), 1)}
if LOOP > 1:
    theirs, per_question = ask_transformers(lines[:LOOP])
    equal = sum(ours[i]['prediction'] == text for i, text in theirs.items())
    result.update(loop_questions=LOOP, loop_seconds_per_question=round(per_question, 4), ratio=round(per_question * len(lines) / seconds, 2), equal_texts=f'{equal} of {len(theirs)}')
print(json.dumps(result))
