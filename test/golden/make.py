# Makes golden logits of the tiny models of test/helpers/tiny-types.ts with transformers, in float64 from f32 weights:
#   UPDATE_GOLDEN=<folder> npx vitest run test/golden-types.test.ts -t folders   (writes a folder for each model)
#   python test/golden/make.py <folder>                                          (needs torch and transformers)
# Each <type>.json holds the ids, the logits of some rows, the mean negative log-likelihood of the next ids in nats, and the
# length of its gradient over the first 48 ids.
import json, pathlib, sys
import torch
from transformers import AutoModelForCausalLM

ROWS = [0, 1, 17, 63, 64, 99]
here = pathlib.Path(__file__).parent
for folder in sorted(p for p in pathlib.Path(sys.argv[1]).iterdir() if (p / "ids.json").exists()):
    ids = json.loads((folder / "ids.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model = model.double().eval()
    with torch.no_grad():
        out = model(torch.tensor([ids]), use_cache=False).logits[0]
    few = torch.nn.functional.cross_entropy(
        model(torch.tensor([ids[:48]]), use_cache=False).logits[0, :-1], torch.tensor(ids[1:48])
    )
    few.backward()
    grad_norm = sum(float((p.grad**2).sum()) for p in model.parameters()) ** 0.5
    nll = torch.nn.functional.cross_entropy(out[:-1], torch.tensor(ids[1:])).item()
    rows = {t: [round(x, 7) for x in out[t].tolist()] for t in ROWS if t < len(ids)}
    lines = ",\n".join(f'    "{t}": {json.dumps(row)}' for t, row in rows.items())
    text = f'{{\n  "ids": {json.dumps(ids)},\n  "loss": {nll:.9f},\n  "grad_norm": {grad_norm:.7f},\n  "logits": {{\n{lines}\n  }}\n}}\n'
    (here / f"{folder.name}.json").write_text(text)
    print(folder.name, f"{nll:.6f}")
