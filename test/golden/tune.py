# Makes tune.json beside it: losses and gradient norms of ten steps of training the tiny models, by peft, transformers and
# torch's AdamW.
#   python tune.py <folder with tiny llama and qwen2 folders>      (writeTinyModel of TINY_BASES writes them: test/helpers/)
# First values of adapters are those of `fill` in adapters.py; the samples are those of `sequences` here and in the test.
import json, os, re, sys
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM
from peft import LoraConfig, get_peft_model

sys.argv, given = [sys.argv[0], "/nowhere"], sys.argv[1]
source = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "adapters.py")).read()
exec(source.replace("main(sys.argv[1])", ""))

STEPS = 10
ADAMW = dict(lr=2e-3, betas=(0.9, 0.95), eps=1e-8)
DECAY, CLIP = 0.1, 1.0
BETA, SMOOTHING = 0.3, 0.1

CASES = {
    "llama": {
        "full": None,
        "lora": dict(r=4, lora_alpha=8, target_modules="all-linear"),
        "lora+": dict(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], ratio=4),
        "rslora": dict(r=4, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"]),
        "dora": dict(r=3, lora_alpha=3, use_dora=True, target_modules="all-linear"),
        "dpo": dict(r=4, lora_alpha=8, target_modules="all-linear", dpo=True),
    },
    "qwen2": {
        "full": None,
        "lora": dict(r=4, lora_alpha=8, target_modules=ALL + ["lm_head"]),
        "dora": dict(r=4, lora_alpha=2, use_dora=True, use_rslora=True, target_modules=["q_proj", "o_proj", "gate_proj"]),
        "dpo": dict(r=3, lora_alpha=3, use_dora=True, target_modules="all-linear", dpo=True),
    },
}

# Two sequences a step, and which tokens are learned.
def sequences(step, vocab):
    return [(ids(count, vocab, 3 * step + s), [i > 0 and (i * 5 + step) % 3 != 0 for i in range(count)]) for s, count in enumerate([23, 40])]

def losses(model, sequence):
    tokens, learned = sequence
    t = torch.tensor([tokens])
    nll = F.cross_entropy(model(t).logits[0, :-1], t[0, 1:], reduction="none")
    return nll[torch.tensor(learned[1:])]

def run(path, fields):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
    vocab = model.config.vocab_size
    fields = dict(fields or {})
    ratio, dpo = fields.pop("ratio", 1), fields.pop("dpo", False)
    if fields:
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **fields))
        with torch.no_grad():
            for name, p in model.named_parameters():
                if p.requires_grad:
                    name = name.replace(".default", "")
                    # In the file a magnitude's name has no end.
                    p.copy_(fill(name.replace("vector.weight", "vector"), list(p.shape)))
    model.train()
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    groups = [dict(params=[p], weight_decay=DECAY if p.ndim > 1 else 0, lr=ADAMW["lr"] * (ratio if "lora_B" in n else 1)) for n, p in trained]
    optimizer = torch.optim.AdamW(groups, **ADAMW)
    result = dict(loss=[], grad_norm=[])
    if dpo:
        result.update(margin=[], accuracy=[])
    for step in range(STEPS):
        optimizer.zero_grad()
        if dpo:
            # The two answers of a pair share nothing here but their model; two pairs a step.
            total, margins = 0, []
            for pair in range(2):
                chosen, rejected = sequences(2 * step + pair, vocab)
                logp = [-losses(model, s).sum() for s in (chosen, rejected)]
                with torch.no_grad(), model.disable_adapter():
                    ref = [-losses(model, s).sum() for s in (chosen, rejected)]
                z = BETA * ((logp[0] - ref[0]) - (logp[1] - ref[1]))
                margins.append(z.item())
                total = total - ((1 - SMOOTHING) * F.logsigmoid(z) + SMOOTHING * F.logsigmoid(-z)) / 2
            result["margin"].append(sum(margins) / 2)
            result["accuracy"].append(sum(m > 0 for m in margins) / 2)
        else:
            parts = torch.cat([losses(model, s) for s in sequences(step, vocab)])
            total = parts.mean()
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for _, p in trained], CLIP)
        optimizer.step()
        result["loss"].append(total.item())
        result["grad_norm"].append(norm.item())
    return {k: [round(x, 6) for x in v] for k, v in result.items()}

out = {kind: {name: run(os.path.join(given, kind), fields) for name, fields in cases.items()} for kind, cases in CASES.items()}
text = json.dumps(out, indent=1)
text = re.sub(r"\[\s+((?:-?[\d.e-]+,?\s*)+)\]", lambda m: "[" + re.sub(r"\s+", " ", m.group(1)).strip() + "]", text)
open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "tune.json"), "w").write(text + "\n")
