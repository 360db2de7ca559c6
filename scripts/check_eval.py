#!/usr/bin/env python3
"""Checks `ssl4rl eval` against an independent computation with pandas: reading of TSV files, prompts, matching and every table.

    scripts/check_eval.py PATH/TO/ssl4rl [ROUNDS]

Development only (pandas, Pillow). Draws random files of every benchmark kind with awkward cells, random predictions, and compares
prompts.jsonl, acc.csv or score.csv to the byte (rows whose order the toolkit leaves open are sorted) and `overall`.
"""
import ast
import base64
import csv
import io
import json
import os
import random
import re
import string
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
from PIL import Image
from pandas.io.parsers import TextParser

PROGRAM = sys.argv[1]
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 30
LETTERS = string.ascii_uppercase
SHORT = {'coarse_perception': 'CP', 'finegrained_perception (instance-level)': 'FP-S', 'finegrained_perception (cross-instance)': 'FP-C',
         'logic_reasoning': 'LR', 'relation_reasoning': 'RR', 'attribute_reasoning': 'AR'}


# ---- the rules, written from the specification ----

def letter_stage(text, options, profile):
    if 'Failed to obtain answer via API' in text:
        return None
    for refusal in ["Sorry, I can't help with images of people yet.", "I can't process this file.", "I'm sorry, but without the image provided",
                    'Cannot determine the answer']:
        if refusal in text:
            return 'Z'
    words = re.sub(r'[.()\[\],:;!*#{}]', ' ', text).split()
    present = [letter for letter in options if letter in words]
    if len(present) == 1:
        if profile == '2025-07' or words.index(present[0]) >= len(words) - 4:
            return present[0]
    elif not present and 'Z' in words:
        return 'Z'
    if profile == '2026-06':
        hit = re.search(r'(?i)(?:correct\s+)?answer\s+is\s+\**([ABCD])\**', text)
        if hit and hit.group(1).upper() in options:
            return hit.group(1).upper()
    return None


def infer(text, options, profile):
    text = str(text)
    letter = letter_stage(text, options, profile)
    if letter:
        return letter
    text = text.lower()
    if profile != '2025-07' and len(text) > 2 * sum(len(str(v)) for v in options.values()):
        return None
    found = [k for k, v in options.items() if str(v).lower() in text]
    return found[0] if len(found) == 1 else None


def yes_no(text):
    s = text.lower()
    out = s
    digits = re.search(r'(\d)(,)(\d)', s)
    for p in [';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`', ',', '?', '!']:
        out = out.replace(p, '' if p + ' ' in s or ' ' + p in s or digits else ' ')
    out = re.sub(r'(\.)(?!\d)', '', out, count=32)
    words = out.split()
    if ('yes' in words) != ('no' in words):
        return 'Yes' if 'yes' in words else 'No'
    return 'Unknown'


def realworld(text, profile):
    if profile == '2026-06':
        tag = re.search(r'<answer>(.*?)</answer>', text, re.DOTALL)
        text = tag.group(1).strip().upper() if tag else text
    text = text.strip()
    tail = ['The best option is', 'The correct option is', 'Best answer:', 'Best option:'] if profile == '2026-06' else [
        'The best option isThe correct option is', 'Best answer:Best option:']
    for prefix in ['The best answer is', 'The correct answer is', 'The answer is', 'The answer'] + tail:
        text = text.replace(prefix, '')
    letter = re.search('[ABCDE]', text)
    if letter:
        return letter[0]
    if len(text.split()) > 10:
        return ''
    for choice in ['(A)', '(B)', '(C)', '(D)', '(E)']:
        if text.lower() in choice.lower():
            return choice[1]
    return ''


def spreadsheet(frame):
    """What comes back from to_excel and read_excel: whole floats are integers, then types are inferred anew."""
    def cell(v):
        if isinstance(v, (float, np.floating)):
            if pd.isna(v):
                return ''
            return int(v) if v == int(v) else float(v)
        return v
    rows = [list(frame.columns)] + [[cell(v) for v in row] for row in frame.astype(object).values.tolist()]
    return TextParser(rows, header=0).read()


def options_of(row):
    return {c: row[c] for c in LETTERS if c in row and not pd.isna(row[c])}


def report_acc(df):
    res = {}
    splits = sorted(set(df['split'])) if 'split' in df else ['none']
    of = list(df['split']) if 'split' in df else ['none'] * len(df)
    hit = list(df['hit'])
    def mean(mask):
        chosen = [h for h, m in zip(hit, mask) if m]
        return np.mean(chosen) if chosen else np.nan
    res['split'] = splits
    res['Overall'] = [mean([o == s for o in of]) for s in splits]
    for group in ['l2-category', 'category']:
        if group in df:
            for value in sorted(set(df[group])):
                res[SHORT.get(value, value)] = [mean([o == s and g == value for o, g in zip(of, df[group])]) for s in splits]
    return pd.DataFrame(res)


def score(kind, name, data, predictions, profile):
    """data: as load()ed; returns table, overall."""
    frame = data.copy()
    frame['prediction'] = [predictions[i] for i in frame['index']]
    sheet = spreadsheet(frame)
    gold = dict(zip(data['index'], data['answer']))
    if kind == 'realworld':
        score = []
        for _, row in sheet.iterrows():
            letter = '' if pd.isna(row['prediction']) else realworld(str(row['prediction']), profile)
            score.append(int(letter != '' and letter == row['answer']))
        return None, 100 * float(np.mean(score))
    sheet['prediction'] = [str(x) for x in sheet['prediction']]
    if kind in ('yes_no', 'hallusion', 'pope', 'mme'):
        sheet['extracted'] = [yes_no(x) for x in sheet['prediction']]
        sheet['score'] = sheet['answer'] == sheet['extracted']
        return yes_no_table(kind, sheet)
    sheet = sheet.sort_values(by='index')
    for k in list(sheet.keys()):
        sheet[k if k in LETTERS else k.lower()] = sheet.pop(k)
    sheet['read'] = [infer(row['prediction'], options_of(row), profile) for _, row in sheet.iterrows()]
    sheet['hit'] = [int((r or 'Z') == gold[i]) for r, i in zip(sheet['read'], sheet['index'])]
    if kind == 'circular':
        groups = [int(i % 1e6) for i in sheet['index']] if 'g_index' not in sheet else list(sheet['g_index'])
        sheet['group'] = groups
        right = {g: int(all(r == gold[i] for r, i, h in zip(sheet['read'], sheet['index'], groups) if h == g)) for g in set(groups)}
        sheet = sheet[sheet['index'] == sheet['group']].copy()
        sheet['hit'] = [right[g] for g in sheet['group']]
        sheet = sheet.drop(columns=['group'])
    sheet = sheet.drop(columns=['read'])
    sheet = spreadsheet(sheet)
    if kind == 'mmvp' and profile == '2026-06':
        hits = list(sheet['hit'])
        both = [hits[2 * i] and hits[2 * i + 1] for i in range(len(hits) // 2)]
        return pd.DataFrame({'Average': [np.mean(hits)], 'Overall': [np.mean(both)]}), 100 * np.mean(both)
    if kind == 'cvbench' and all(sheet['split'] == '2D'):
        res = {'split': ['2D']}
        sources = sorted(set(sheet['source']))
        for s in sources:
            res[s] = [np.mean(sheet[sheet['source'] == s]['hit'])]
        res['Overall'] = [sum(res[s][0] for s in sources) / len(sources)]
        return pd.DataFrame(res), 100 * res['Overall'][0]
    return report_acc(sheet), 100 * np.mean(sheet['hit'])


def yes_no_table(kind, d):
    def groups(column):
        return sorted(c for c in set(d[column]) if not pd.isna(c)) if column in d else []
    if kind == 'yes_no':
        res = {'Overall': [np.mean(d['score']) * 100]}
        for column in ['category', 'l2-category']:
            for c in groups(column):
                res[c] = [np.mean(d[d[column] == c]['score']) * 100]
        return pd.DataFrame(res), res['Overall'][0]
    if kind == 'hallusion':
        parts = [x.split('_') for x in d['index']]
        d['f'] = [f"{l}_{p[3]}_{p[4]}" for l, p in zip(d['l2-category'], parts)]
        d['q'] = [f"{l}_{p[3]}_{p[5]}" for l, p in zip(d['l2-category'], parts)]
        rows = []
        for name, sub in [('Overall', d)] + [(c, d[d[col] == c]) for col in ['category', 'l2-category'] for c in groups(col)]:
            rows.append([name, np.mean(sub['score']) * 100] + [np.mean([np.all(g['score']) for _, g in sub.groupby(k)]) * 100 for k in 'fq'])
        t = pd.DataFrame(rows, columns=['split', 'aAcc', 'fAcc', 'qAcc'])
        return t, np.mean(rows[0][1:])
    if kind == 'pope':
        d = d.assign(category=d['category'].str.split(',')).explode('category')
        res = {k: [] for k in ['split', 'Overall', 'acc', 'precision', 'recall']}
        cats = sorted(c for c in set(d['category']) if not pd.isna(c))
        for name, sub in [('Overall', d)] + [(c, d[d['category'] == c]) for c in cats]:
            t, p = np.array(sub['answer'] == 'Yes'), np.array(sub['extracted'] == 'Yes')
            tp, fp, fn = sum(t & p), sum(~t & p), sum(t & ~p)
            precision = tp / (tp + fp) if tp + fp != 0 else 0
            recall = tp / (tp + fn) if tp + fn != 0 else 0
            f1 = 2 * (precision * recall) / (precision + recall) if precision + recall != 0 else 0
            for k, v in zip(res, [name, f1 * 100, np.mean(sub['score']) * 100, precision * 100, recall * 100]):
                res[k].append(v)
        return pd.DataFrame(res), res['Overall'][0]
    stats = {}
    for _, row in d.iterrows():
        stats.setdefault(row['category'], {}).setdefault(row['image_path'], []).append(row['score'])
    scores = {c: np.mean([v for x in s.values() for v in x]) * 100 + np.mean([x[0] * x[1] for x in s.values()]) * 100 for c, s in stats.items()}
    per = ['OCR', 'artwork', 'celebrity', 'color', 'count', 'existence', 'landmark', 'position', 'posters', 'scene']
    rea = ['code_reasoning', 'commonsense_reasoning', 'numerical_calculation', 'text_translation']
    res = {'perception': [sum(scores[c] for c in per)], 'reasoning': [sum(scores[c] for c in rea)]}
    res.update({c: [v] for c, v in scores.items()})
    return pd.DataFrame(res), res['perception'][0] + res['reasoning'][0]


# ---- random files ----

rng = random.Random(int(os.environ.get('SEED', 0)))


def picture(extension='png'):
    image = Image.fromarray(np.random.default_rng(rng.randrange(1 << 30)).integers(0, 256, (rng.randint(8, 20), rng.randint(8, 20), 3), dtype=np.uint8))
    out = io.BytesIO()
    image.save(out, format='PNG')
    return base64.b64encode(out.getvalue()).decode()


def option_pool():
    return rng.choice([
        ['a teddy bear', 'rabbit', 'cat', 'dog', 'The big one', 'Größe', 'İstanbul', 'none of these', 'A man', 'say "hi"', 'two\nlines', ' tab ', 'ΣΑΣ'],
        ['1', '2', '3', '4', '5', '12'], ['1.5', '2', '3e2', '7', '10'], ['True', 'False', 'true'], ['yes', 'no', 'maybe', 'None', 'NA'],
        ['red', 'blue', 'green', '7', 'n/a']])


def say(options, answer):
    opts = [o for o in options.values()] or ['x']
    texts = ['{L}', '{L}.', '({L})', '**{L}**', 'The answer is {L}', 'The correct answer is **{L}** because of this and that and more words here now', '{o}', 'It is {o}.',
             'The answer is {o}', 'I think {L} or {M}', '{L} x y z w', '{L} x y z', '<answer>{L}</answer>', '<answer> {L} </answer>', '{l}', '', 'None', 'NA', '7', '2.0', 'Z',
             'Cannot determine the answer', 'nothing here', '{o} and {p}', 'answer\u00a0is {L}', 'an\u017fwer is {L}', "I can't process this file.", '{L}\u3002', '{L},{M}',
             'A long story about {o} that goes on and on and on and on and on and on and on and on and on', '\\boxed{{{L}}}', 'Failed to obtain answer via API {L}',
             'Yes', 'no', 'Yes, it is', '**No**', 'No.', 'yes no', '<answer>Yes</answer>', '1,000 yes!', 'Best answer: {L}', 'The best option is {L}', 'b', 'Based on the image, {L}']
    if rng.random() < 0.45:
        return str(answer)
    L, M = rng.choice('ABCDE'), rng.choice('ABCD')
    return rng.choice(texts).format(L=L, M=M, l=L.lower(), o=rng.choice(opts), p=rng.choice(opts))


def maybe(values, p=0.1):
    return '' if rng.random() < p else rng.choice(values)


def mcq_rows(n, circular=False):
    rows = []
    pool = [option_pool() for _ in range(4)]
    k = rng.randint(2, 4)
    for i in range(n):
        row = {'index': str(i + 1), 'question': rng.choice(['What is it?', 'Say "x"\tor not', 'Why?\nBecause', '5', '1e3', '什么']), 'hint': maybe(['look', 'true', 'a "hint"'], 0.5)}
        for j in range(k):
            row[LETTERS[j]] = maybe(pool[j if rng.random() < 0.8 else 0], 0.08 if j > 1 else 0.02)
        row['answer'] = rng.choice(LETTERS[:k])
        row['image'] = picture()
        rows.append(row)
    if circular:
        extra = []
        for row in rows:
            for r in range(1, rng.randint(1, k)):
                turned = dict(row, index=str(int(row['index']) + r * 1000000), image=row['index'])
                for j in range(k):
                    turned[LETTERS[(j + r) % k]] = row[LETTERS[j]]
                turned['answer'] = LETTERS[(LETTERS.index(row['answer']) + r) % k]
                extra.append(turned)
        rows += extra
        if rng.random() < 0.5:
            rng.shuffle(rows)
    return rows


def build(kind):
    n = rng.randint(6, 24)
    if kind in ('mcq', 'circular', 'mmvp', 'cvbench'):
        rows = mcq_rows(n + n % 2, kind == 'circular')
        numeric = rng.random() < 0.3
        for row in rows:
            base = int(row['index']) % 1000000
            if kind == 'cvbench':
                row['prompt'] = row['question'] + '\n(A) x'
                row['source'] = ['ADE20K', 'COCO', 'Omni3D'][base % 3]
                row['split'] = '2D' if n % 2 else '3D'
            elif kind == 'mmvp':
                row['question'] = f'q{(base + 1) // 2}'
            elif n % 3:
                row['split'] = ['dev', 'test'][base % 2] if n % 3 == 1 else 'dev'
            row['category'] = str(base % 12) if numeric else ['ocr', 'attribute_reasoning', 'Color', 'Überblick'][base % 4]
            if n % 4 == 0:
                row['L2-Category' if n % 8 else 'l2-category'] = ['logic_reasoning', 'coarse_perception', 'other'][base % 3]
    elif kind == 'hallusion':
        rows = []
        for s in range(3):
            for f in range(2):
                for q in range(3):
                    for l2 in ('chart', 'map'):
                        rows.append({'index': f'VD_x_0_{s}_{f}_{q}{l2[:0]}' if l2 == 'chart' else f'VS_y_0_{s}_{f}_{q}', 'question': 'Is it?', 'answer': rng.choice(['Yes', 'No']), 'category': 'VD' if l2 == 'chart' else 'VS',
                                     'l2-category': l2, 'image': picture()})
        if rng.random() < 0.5:
            rows.append(dict(rows[0], index='VD_x_0_9_9_9', image=''))
    elif kind == 'pope':
        rows = [{'index': str(i), 'question': 'Is there?', 'answer': rng.choice(['Yes', 'No']), 'category': rng.choice(['adversarial', 'popular,random', 'adversarial,popular,random']),
                 'image_path': f'p{i // 3}.png', 'image': picture()} for i in range(n)]
    elif kind == 'mme':
        rows = []
        for c in ['OCR', 'artwork', 'celebrity', 'color', 'count', 'existence', 'landmark', 'position', 'posters', 'scene', 'code_reasoning', 'commonsense_reasoning',
                  'numerical_calculation', 'text_translation']:
            for i in range(rng.randint(1, 3)):
                for a in ('Yes', 'No'):
                    rows.append({'index': str(len(rows)), 'question': f'{a}?', 'answer': a, 'category': c, 'image_path': f'{c}/{i}.png', 'image': picture()})
        rng.shuffle(rows)
    elif kind == 'yes_no':
        rows = [{'index': f'r{i}', 'question': 'Is it?', 'answer': rng.choice(['Yes', 'No']), 'category': rng.choice(['a', 'b']), 'image': picture()} for i in range(n)]
    else:
        rows = []
        for i in range(n):
            opts = [f'({c}) {rng.choice(["left", "right", "it says 5", "can not tell"])}' for c in 'ABCDE']
            rows.append({'index': str(i), 'question': 'Where?', 'multi-choice options': str(opts), 'answer': rng.choice('ABCDE'),
                         'category': rng.choice(['Reasoning', 'Perception']) + '/' + rng.choice(['Monitoring', 'OCR with Complex Context', 'Remote Sensing']),
                         'l2-category': rng.choice(['Color', 'person/attribute/x', 'Vehicle/ATTRIBUTE']), 'image': picture()})
    return rows


NAMES = {'mcq': 'tiny.tsv', 'circular': 'tiny_circular.tsv', 'mmvp': 'MMVP.tsv', 'cvbench': 'CV-Bench-2D.tsv', 'hallusion': 'HallusionBench.tsv', 'pope': 'POPE.tsv', 'mme': 'MME.tsv',
         'yes_no': 'mine.tsv', 'realworld': 'mme_realworld_lite.tsv'}


def toolkit_prompt(kind, row):
    q = row['question']
    if kind in ('hallusion', 'pope', 'mme', 'yes_no'):
        return q
    if kind == 'cvbench':
        return row['prompt']
    if kind == 'realworld':
        opts = ast.literal_eval(row['multi-choice options'])
        return (f'{q} The choices are listed below:\n' + '\n'.join(opts) + '\nSelect the best answer to the above multiple-choice question based on the image. '
                'Respond with only the letter (A, B, C, D, or E) of the correct option. \nThe best answer is:')
    text = '' if 'hint' not in row or pd.isna(row['hint']) else f'Hint: {row["hint"]}\n'
    text += f'Question: {q}\n'
    opts = options_of(row)
    if opts:
        text += 'Options:\n' + ''.join(f'{k}. {v}\n' for k, v in opts.items()) + 'Please select the correct answer from the options above. \n'
    return text


def qwen_prompt(kind, row):
    if kind in ('hallusion', 'pope'):
        return row['question'] + ' Please answer yes or no.'
    if kind not in ('mmvp', 'cvbench'):
        return toolkit_prompt(kind, row)
    text = toolkit_prompt('mcq', row)
    head = text[:-len('Please select the correct answer from the options above. \n')] if options_of(row) else text
    tail = '' if not options_of(row) else '请直接回答选项字母。' if re.search('[\u4e00-\u9fff]', head) else 'Please select the correct answer from the options above.'
    return (head + tail).rstrip()


def run(*arguments):
    done = subprocess.run([PROGRAM, 'eval', '--quiet', *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f'{arguments}: {done.returncode}: {done.stderr}')


def check(kind, folder):
    rows = build(kind)
    path = os.path.join(folder, NAMES[kind])
    columns = list(rows[0])
    if rng.random() < 0.5:
        rng.shuffle(columns)
    pd.DataFrame(rows, columns=columns).to_csv(path, sep='\t', index=False, quoting=rng.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), lineterminator=rng.choice(['\n', '\r\n']))
    data = pd.read_csv(path, sep='\t')
    data = data[~pd.isna(data['image'])]
    images = dict(zip([str(i) for i in data['index']], data['image']))
    for style, expected in (('toolkit', toolkit_prompt), ('qwen', qwen_prompt)):
        run('--bench', path, '--dry-run', '--prompt', style, '--output', folder)
        with open(os.path.join(folder, os.path.splitext(NAMES[kind])[0], 'prompts.jsonl')) as f:
            lines = [json.loads(line) for line in f]
        assert len(lines) == len(data)
        for line, (_, row) in zip(lines, data.iterrows()):
            assert str(line['index']) == str(row['index']), (line['index'], row['index'])
            content = line['messages'][0]['content']
            assert content[-1]['text'] == str(expected(kind, row)), (kind, style, content[-1]['text'], expected(kind, row))
            own = images[str(row['index'])]
            own = own if len(str(own)) > 64 else images[str(own)]
            shown = Image.open(io.BytesIO(base64.b64decode(content[0]['image'].split(',')[1]))).convert('RGB')
            assert np.array_equal(np.array(shown), np.array(Image.open(io.BytesIO(base64.b64decode(own))).convert('RGB')))
    predictions = {}
    for _, row in data.iterrows():
        opts = {k: str(v) for k, v in options_of(row).items()}
        predictions[row['index']] = say(opts, row['answer'])
    if rng.random() < 0.1:
        predictions = {k: rng.choice(['1', '2', '3']) for k in predictions}
    file = os.path.join(folder, 'p.jsonl')
    keys = list(predictions)
    rng.shuffle(keys)
    with open(file, 'w') as f:
        for k in keys:
            f.write(json.dumps({'index': k.item() if hasattr(k, 'item') else k, 'prediction': predictions[k]}) + '\n')
    data = data.drop(columns=['image'])
    for profile in ('2025-07', '2025-08', '2026-06'):
        run('--bench', path, '--predictions', file, '--profile', profile, '--output', folder)
        name = os.path.splitext(NAMES[kind])[0]
        base = os.path.join(folder, name)
        result = json.load(open(os.path.join(base, 'result.json')))
        table, overall = score(kind, name, data, predictions, profile)
        assert abs(result['overall'] - overall) < 1e-9, (kind, profile, result['overall'], overall)
        if table is not None:
            expected = table.to_csv(index=False, quoting=csv.QUOTE_ALL).splitlines()
            got = open(os.path.join(base, 'score.csv' if kind in ('yes_no', 'hallusion', 'pope', 'mme') else 'acc.csv')).read().splitlines()
            assert got[0] == expected[0] and sorted(got) == sorted(expected), (kind, profile, got, expected)
    again = pd.read_csv(os.path.join(base, 'predictions.tsv'), sep='\t', keep_default_na=False, dtype=str)
    assert list(again.columns) == list(data.columns) + (['A', 'B', 'C', 'D', 'E'] if kind == 'realworld' else []) + ['prediction']
    assert list(again['prediction']) == [predictions[i] for i in data['index']]


for number in range(ROUNDS):
    for kind in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            seed = rng.randrange(1 << 30)
            try:
                check(kind, folder)
            except BaseException:
                print(f'round {number}, {kind}', file=sys.stderr)
                raise
    print(f'round {number + 1} of {ROUNDS}: all {len(NAMES)} kinds agree', flush=True)
