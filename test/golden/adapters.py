# Makes adapters.json beside it: logits of the tiny models with adapters, by peft and transformers.
#   python adapters.py <folder with tiny llama and qwen2 folders>      (writeTinyModel of TINY_BASES writes them: test/helpers/)
# Tensors of the adapters are not kept: `fill` gives the same values there and in the test.
import json, sys, tempfile, os
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from peft import LoraConfig, PeftModel, get_peft_model

M = 0xFFFFFFFF

def fill(name, shape):
    seed = 7
    for c in name:
        seed = (seed * 31 + ord(c)) & M
    n = 1
    for s in shape:
        n *= s
    mean, spread = (1.5, 0.5) if "magnitude" in name or "norm" in name else (0, 0.4)
    out = []
    for _ in range(n):
        seed = (seed * 1103515245 + 12345) & M
        u = ((seed >> 8) / 2**24) * 2 - 1
        import math
        out.append(math.floor((mean + spread * u) * 4096 + 0.5) / 4096)
    return torch.tensor(out, dtype=torch.float32).reshape(shape)

def ids(count, vocab, seed=1):
    return [(i * 7 + ((i * i) >> 1) * 3 + seed * 13) % vocab for i in range(count)]

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CONFIGS = {
    "llama": {
        "plain": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"]),
        "patterns": dict(
            r=4, lora_alpha=6, use_rslora=True,
            target_modules=r"model\.layers\.\d+\.(self_attn\.[qko]|mlp\.(gate|up))_proj",
            rank_pattern={r"^model.layers.0.self_attn.q_proj": 2, "o_proj": 6, r"layers\.[12]\.mlp\.up_proj": 3},
            alpha_pattern={"gate_proj": 3, "layers.2.self_attn.k_proj": 9},
        ),
        "dora": dict(r=3, lora_alpha=3, use_dora=True, target_modules="all-linear"),
        "saved": dict(r=2, lora_alpha=4, target_modules=["k_proj"], modules_to_save=["lm_head"]),
        "layers": dict(r=4, lora_alpha=8, target_modules=["up_proj", "q_proj"], layers_to_transform=[0, 2], layers_pattern="layers", exclude_modules=["layers.2.self_attn.q_proj"]),
        "whole": dict(r=2, lora_alpha=4, target_modules=["v_proj"], bias="lora_only", modules_to_save=["embed_tokens", "norm", "o_proj"]),
    },
    "qwen2": {
        "plain": dict(r=4, lora_alpha=8, target_modules=ALL + ["lm_head"]),
        "dora": dict(r=4, lora_alpha=2, use_dora=True, use_rslora=True, target_modules=["q_proj", "o_proj", "gate_proj"]),
        "embedding": dict(r=4, lora_alpha=8, target_modules=["embed_tokens", "k_proj"]),
        "whole": dict(r=2, lora_alpha=4, target_modules=["v_proj"], modules_to_save=["embed_tokens"]),
        "tied": dict(r=2, lora_alpha=4, target_modules=["v_proj"], modules_to_save=["embed_tokens"], ensure_weight_tying=True),
    },
}
# name of the case: [(adapter, scale), ..]
SEVERAL = {
    "llama": {
        "plain+patterns": [("plain", 0.5), ("patterns", 1.5)],
        "plain+dora+patterns": [("plain", 1), ("dora", 1), ("patterns", 0.5)],
        "dora*0.25": [("dora", 0.25)],
    },
    "qwen2": {"dora+plain": [("dora", 1), ("plain", 2)]},
}
ROWS = [5, 39]

def strip(config):
    keep = {}
    default = LoraConfig().to_dict()
    for k, v in json.load(open(config)).items():
        d = default.get(k)
        if k in ("peft_type", "task_type", "base_model_name_or_path", "r", "lora_alpha") or v != (sorted(d) if isinstance(d, set) else d):
            keep[k] = v
    keep["base_model_name_or_path"] = "tiny"
    keep["inference_mode"] = True
    return keep

def main(folder):
    out = {}
    for kind, configs in CONFIGS.items():
        path = os.path.join(folder, kind)
        load = lambda: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
        vocab = load().config.vocab_size
        tokens = torch.tensor([ids(40, vocab)])
        result = {}
        saved = {}
        rows = lambda logits: {str(t): [round(x, 6) for x in logits[0, t].tolist()] for t in ROWS}
        for name, fields in configs.items():
            torch.manual_seed(0)
            model = get_peft_model(load(), LoraConfig(task_type="CAUSAL_LM", **fields))
            dir = tempfile.mkdtemp()
            model.save_pretrained(dir)
            file = os.path.join(dir, "adapter_model.safetensors")
            with safe_open(file, "pt") as f:
                kept = {k: f.get_tensor(k) for k in f.keys()}
            shapes = {k: list(v.shape) for k, v in kept.items()}
            # A copy of the base stays one, and a tied head is the embedding.
            name_of = lambda k: k.replace("lm_head", "model.embed_tokens") if fields.get("ensure_weight_tying") else k
            save_file({k: kept[k] if k.endswith("base_layer.weight") else fill(name_of(k), s) for k, s in shapes.items()}, file, {"format": "pt"})
            saved[name] = dir
            model = PeftModel.from_pretrained(load(), dir).eval()
            with torch.no_grad():
                logits = model(tokens).logits
            result[name] = dict(config=strip(os.path.join(dir, "adapter_config.json")), tensors=shapes, logits=rows(logits))
        several = {}
        for name, parts in SEVERAL[kind].items():
            model = PeftModel.from_pretrained(load(), saved[parts[0][0]], adapter_name=parts[0][0])
            for other, _ in parts[1:]:
                model.load_adapter(saved[other], adapter_name=other)
            model.base_model.set_adapter([p for p, _ in parts])
            for module in model.modules():
                if hasattr(module, "set_scale") and hasattr(module, "scaling"):
                    for p, s in parts:
                        if p in module.scaling:
                            module.set_scale(p, s)
            model.eval()
            with torch.no_grad():
                logits = model(tokens).logits
            several[name] = dict(parts=parts, logits=rows(logits))
        out[kind] = dict(adapters=result, several=several)
    text = json.dumps(out, indent=1)
    # Numbers on one line.
    import re
    text = re.sub(r"\[\s+((?:-?[\d.e-]+,?\s*)+)\]", lambda m: "[" + re.sub(r"\s+", " ", m.group(1)).strip() + "]", text)
    open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "adapters.json"), "w").write(text + "\n")

main(sys.argv[1])
