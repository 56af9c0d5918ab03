# Makes test/golden/bert.json, the vectors of the tiny BERT of test/helpers/tiny-bert.ts, with transformers in float64:
#   UPDATE_GOLDEN=<folder> npx vitest run src/embed/embed.test.ts -t folder   (writes the model and texts.json)
#   python test/golden/make-bert.py <folder>                                  (needs torch and transformers)
# For each text: its ids (cut to 32), the hidden states of its first and last token, and every pooling of them.
import json, pathlib, sys
import torch
from transformers import AutoModel, AutoTokenizer

folder = pathlib.Path(sys.argv[1])
texts = json.loads((folder / "texts.json").read_text())
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", add_pooling_layer=False)
model = model.double().eval()
out = []
for text in texts:
    ids = tokenizer(text, truncation=True, max_length=32)["input_ids"]
    with torch.no_grad():
        h = model(torch.tensor([ids])).last_hidden_state[0]
    weights = torch.arange(1, len(ids) + 1, dtype=h.dtype)[:, None]
    pooled = {
        "cls": h[0],
        "max": h.max(0).values,
        "mean": h.mean(0),
        "mean_sqrt_len": h.sum(0) / len(ids) ** 0.5,
        "weightedmean": (h * weights).sum(0) / weights.sum(),
        "lasttoken": h[-1],
    }
    row = lambda v: [round(x, 7) for x in v.tolist()]
    out.append({"text": text, "ids": ids, **{name: row(v) for name, v in pooled.items()}})
lines = ",\n".join("  " + json.dumps(o) for o in out)
(pathlib.Path(__file__).parent / "bert.json").write_text(f"[\n{lines}\n]\n")
