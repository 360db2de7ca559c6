#!/usr/bin/env python3
"""Write tests/data/family_cases.json: what transformers computes for a tiny model of each family (development only).

    python3 scripts/make_family_fixtures.py [--out tests/data]

The weights are not stored: every value follows from its tensor's published name and its index (`draw`), here and in
tests/support/family_cases.h alike. Stored are the configurations (as transformers saves them and as the hub publishes
them), the names and shapes of a saved model's tensors, and per case the prompt's ids, log-probabilities, a greedy
continuation, and for one case the gradients' norms and sums. Uses tokenizer and images of scripts/make_fixtures.py, which
must have run before.
"""
import argparse
import copy
import json
import math
import os
import tempfile

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from make_fixtures import ADDED, CHAT_TEMPLATE, MEAN, STD, image_inputs, render, write_json

# The branches of the published templates that conversations of text and images reach.
QWEN2_5_TEMPLATE = """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant") %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
QWEN3_TEMPLATE = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last_query_index=messages|length - 1, searching=true) %}
{%- for message in messages[::-1] %}
    {%- if ns.searching and message.role == "user" %}
        {%- set ns.searching = false %}
        {%- set ns.last_query_index = messages|length - 1 - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning_content) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
QWEN3_VL_TEMPLATE = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].content is string %}{{- messages[0].content }}{%- else %}
        {%- for content in messages[0].content %}{%- if 'text' in content %}{{- content.text }}{%- endif %}{%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == "user" or message.role == "assistant" %}
        {{- '<|im_start|>' + message.role + '\\n' }}
        {%- if message.content is string %}
            {{- message.content }}
        {%- else %}
            {%- for content in message.content %}
                {%- if content.type == 'image' %}
                    {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
                {%- elif 'text' in content %}
                    {{- content.text }}
                {%- endif %}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\nTHINK' }}
{%- endif %}
"""


def draw(name, shape):
    """Values of a tensor: uniform, by splitmix64 of the name's FNV-1a hash and the index."""
    mask = (1 << 64) - 1
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & mask
    count = math.prod(shape)
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float64) / (1 << 23) - 1  # [-1, 1)
    if name.endswith(".bias"):
        values = 0.2 * u
    elif len(shape) == 1:
        values = 1 + 0.4 * u
    else:
        values = u * math.sqrt(3.0 / math.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def text_config(**changes):
    base = dict(vocab_size=576, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                max_position_embeddings=4096, rms_norm_eps=1e-6, bos_token_id=512, eos_token_id=514)
    return {**base, **changes}


def specs():
    """name → (configuration in the hub's form, chat template, patch size; 0: text alone)"""
    vision_ids = dict(image_token_id=524, video_token_id=525, vision_start_token_id=521, vision_end_token_id=522)
    return {
        "qwen2_vl": ({"model_type": "qwen2_vl", "architectures": ["Qwen2VLForConditionalGeneration"], **text_config(hidden_act="silu"), **vision_ids,
                      "rope_theta": 1e6, "rope_scaling": {"type": "mrope", "mrope_section": [2, 2, 2]}, "tie_word_embeddings": True,
                      "use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 3,
                      "vision_config": dict(depth=3, embed_dim=32, hidden_size=48, mlp_ratio=3, num_heads=2, in_chans=3, patch_size=14,
                                            spatial_merge_size=2, spatial_patch_size=14, temporal_patch_size=2)}, CHAT_TEMPLATE, 14),
        "qwen3_vl": ({"model_type": "qwen3_vl", "architectures": ["Qwen3VLForConditionalGeneration"], **vision_ids, "tie_word_embeddings": False,
                      "text_config": {"model_type": "qwen3_vl_text", **text_config(head_dim=16), "attention_bias": False, "rope_theta": 5e6,
                                      "rope_scaling": {"mrope_interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default"}},
                      "vision_config": {"model_type": "qwen3_vl", **dict(depth=4, hidden_size=32, intermediate_size=52, num_heads=2, in_channels=3, patch_size=16,
                                        hidden_act="gelu_pytorch_tanh", spatial_merge_size=2, temporal_patch_size=2, out_hidden_size=48,
                                        num_position_embeddings=36, deepstack_visual_indexes=[2, 0])}},
                     QWEN3_VL_TEMPLATE.replace("THINK", ""), 16),
        "qwen3_vl_thinking": ({"model_type": "qwen3_vl", "architectures": ["Qwen3VLForConditionalGeneration"], **vision_ids, "tie_word_embeddings": True,
                               "text_config": {"model_type": "qwen3_vl_text", **text_config(head_dim=24, num_hidden_layers=2), "attention_bias": True, "rope_theta": 1e6,
                                               "rope_scaling": {"mrope_interleaved": True, "mrope_section": [4, 4, 4], "rope_type": "yarn", "factor": 2.0,
                                                                "original_max_position_embeddings": 64}},
                               "vision_config": {"model_type": "qwen3_vl", **dict(depth=2, hidden_size=24, intermediate_size=40, num_heads=1, in_channels=3, patch_size=16,
                                                 hidden_act="gelu_pytorch_tanh", spatial_merge_size=2, temporal_patch_size=2, out_hidden_size=48,
                                                 num_position_embeddings=49, deepstack_visual_indexes=[1])}},
                              QWEN3_VL_TEMPLATE.replace("THINK", "<think>\\n"), 16),
        "qwen2": ({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], **text_config(hidden_act="silu"), "rope_theta": 1e6, "tie_word_embeddings": True,
                   "use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 3}, QWEN2_5_TEMPLATE, 0),
        "qwen2_yarn": ({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], **text_config(hidden_act="silu"), "rope_theta": 1e4, "tie_word_embeddings": False,
                        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}}, None, 0),
        "qwen3": ({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], **text_config(hidden_act="silu", head_dim=20), "rope_theta": 1e6, "attention_bias": False,
                   "tie_word_embeddings": True, "rope_scaling": None, "use_sliding_window": False, "sliding_window": None}, QWEN3_TEMPLATE, 0),
        "qwen3_linear": ({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], **text_config(hidden_act="silu", head_dim=12), "rope_theta": 1e4, "attention_bias": True,
                          "tie_word_embeddings": False, "rope_scaling": {"rope_type": "linear", "factor": 2.5}}, QWEN3_TEMPLATE, 0),
    }


def conversations(images):
    def image(name):
        return {"type": "image", "image": f"images/{name}"}

    def text(t):
        return {"type": "text", "text": t}
    if not images:
        return [
            {"messages": [{"role": "user", "content": "How many degrees was it turned?"}], "completion": "<think>\n</think> <answer>90</answer>"},
            {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi there"}], "completion": "top-left<|im_end|>"},
            {"messages": [{"role": "user", "content": "First"}, {"role": "assistant", "content": "<think>\nold thoughts\n</think>\n\nIt's turned."},
                          {"role": "user", "content": "And now? " * 12}], "completion": "90 degrees, naïve 旋转"},
        ]
    return [
        {"messages": [{"role": "user", "content": "How many degrees?"}], "completion": "<think>\n</think> <answer>90</answer>"},
        {"messages": [{"role": "user", "content": [image("photo.jpg"), image("fine.jpg"), text("Which one is turned?")]}],
         "min_pixels": 3136, "max_pixels": 12000, "completion": "<answer>the second</answer>"},
        {"messages": [{"role": "system", "content": "Look."}, {"role": "user", "content": [text("First: "), image("turned6.jpg"), text("then "), image("rgb.png")]},
                      {"role": "assistant", "content": "It's turned."}, {"role": "user", "content": [image("grey.png"), text("And this?")]}],
         "completion": "90 degrees"},
    ]


def processor_of(patch):
    mean, std = (MEAN, STD) if patch == 14 else ([0.5] * 3, [0.5] * 3)
    settings = {"patch_size": patch, "temporal_patch_size": 2, "merge_size": 2, "image_mean": mean, "image_std": std,
                "size": {"shortest_edge": 3136, "longest_edge": 12845056}}
    return Qwen2VLImageProcessorPil(**settings), settings


def load(folder):
    cls = transformers.AutoModelForImageTextToText if "vision_config" in json.load(open(f"{folder}/config.json")) else transformers.AutoModelForCausalLM
    return cls.from_pretrained(folder, dtype=torch.float32).eval()


def family(name, config, template, patch, tokenizer, image_dir):
    with tempfile.TemporaryDirectory() as folder:
        write_json(f"{folder}/config.json", config)
        write_json(f"{folder}/generation_config.json", {"eos_token_id": [514, 512], "pad_token_id": 512})
        parsed = transformers.AutoConfig.from_pretrained(folder)
        cls = transformers.AutoModelForImageTextToText if patch else transformers.AutoModelForCausalLM
        cls.from_config(parsed).save_pretrained(folder)
        with safe_open(f"{folder}/model.safetensors", "pt") as f:
            shapes = {key: list(f.get_slice(key).get_shape()) for key in f.keys()}
        save_file({key: draw(key, shape) for key, shape in shapes.items()}, f"{folder}/model.safetensors", metadata={"format": "pt"})
        saved = json.load(open(f"{folder}/config.json"))
        saved.pop("transformers_version", None)
        model = load(folder)
    processor, settings = processor_of(patch) if patch else (None, None)
    result = {"name": name, "config": saved, "hub_config": config, "chat_template": template, "preprocessor": settings, "tensors": shapes, "cases": []}
    forbidden = [tokenizer.token_to_id(t) for t in ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")]
    forbidden += range(tokenizer.get_vocab_size(), 576)
    for number, case in enumerate(conversations(patch > 0)):
        prompt, inputs = image_inputs(case, template or "", tokenizer, processor, image_dir) if template else (
            tokenizer.encode(render(case["messages"], QWEN2_5_TEMPLATE)).ids, {})
        completion = tokenizer.encode(case["completion"]).ids
        types = (lambda row: {"mm_token_type_ids": (torch.tensor([row]) == 524).int()}) if patch else (lambda row: {})
        row = prompt + completion
        model.zero_grad()
        logits = model(input_ids=torch.tensor([row]), **types(row), **inputs).logits[0]
        logp = {}
        for temperature in (1.0, 0.7):
            lp = (logits.double() / temperature).log_softmax(-1)
            logp[temperature] = torch.stack([lp[len(prompt) - 1 + i, t] for i, t in enumerate(completion)])
        case.update(id=f"{name}/{number}", prompt_ids=prompt, token_ids=completion, logprobs=logp[1.0].tolist(), logprobs_at_0_7=logp[0.7].tolist())
        if number == 1:
            logp[1.0].sum().backward()
            with tempfile.TemporaryDirectory() as folder:  # saved, for the published names
                gradients = copy.deepcopy(model)
                for own, p in zip(model.parameters(), gradients.parameters()):
                    p.data = own.grad.clone() if own.grad is not None else torch.zeros_like(own)
                gradients.save_pretrained(folder)
                with safe_open(f"{folder}/model.safetensors", "pt") as f:
                    case["gradients"] = {key: [f.get_tensor(key).double().norm().item(), f.get_tensor(key).double().sum().item()] for key in f.keys()}
        with torch.no_grad():
            case["greedy_ids"] = model.generate(input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False,
                                                max_new_tokens=16, suppress_tokens=forbidden, **types(prompt), **inputs)[0, len(prompt):].tolist()
        result["cases"].append(case)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "..", "tests", "data"))
    out = os.path.abspath(parser.parse_args().out)
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(f"{out}/tiny_qwen2_5_vl/tokenizer.json")
    assert [tokenizer.token_to_id(t) for t, _ in ADDED][:1] == [512]
    families = [family(name, *spec, tokenizer, f"{out}/images") for name, spec in specs().items()]
    for f in families:
        print(f["name"], [len(c["prompt_ids"]) for c in f["cases"]], [c["greedy_ids"] for c in f["cases"]])
    write_json(f"{out}/family_cases.json", {"transformers": transformers.__version__, "torch": torch.__version__, "families": families}, indent=None)


if __name__ == "__main__":
    main()
