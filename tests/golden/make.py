"""Made the golden files beside it, once: ``python tests/golden/make.py NAME ...``. No test runs this.

Small weights, and files coded with them, that must decode to the same symbols for ever: on every machine, with every
later version of the course. Retraining the course's own weights does not touch them. Running this again for a name
makes other files, so it is right only for a new name, or when the format itself changes (then raise its version); it
prints the hashes for ``tests/test_exactness.py``.
"""

import sys
from dataclasses import asdict
from pathlib import Path

import torch

GOLDEN = Path(__file__).parent
sys.path.insert(0, str(GOLDEN.parent))

from small_models import TRAINING_PHOTO, model_of, picture  # noqa: E402
from test_exactness import LAMBDAS, NAMES, golden_codec, symbols_digest  # noqa: E402

from edu_compress.codecs.factorized import FactorizedConfig, FactorizedPrior  # noqa: E402
from edu_compress.learned import pretrained  # noqa: E402


def fresh_model(name: str) -> torch.nn.Module:
    if name != "factorized":
        return model_of(name, seed=NAMES.index(name))  # else their symbols would be the same
    torch.manual_seed(0)
    model = FactorizedPrior(FactorizedConfig(N=4, M=16))
    model.initialise(TRAINING_PHOTO)
    with torch.no_grad():
        for p in model.density.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model


def main() -> None:
    for name in sys.argv[1:]:
        model = fresh_model(name)
        kind = name.removesuffix("-sliced").removeprefix("scale_")
        card = {"model": "context" if kind == "checkerboard" else kind}
        card["config"] = asdict(model.config)
        pretrained.save(f"golden-{name}", pretrained.in_half_precision(model.state_dict()), card, GOLDEN)
        codec = golden_codec(name)
        for lam in LAMBDAS:
            data = codec.encode(picture(160, 240), lam)
            (GOLDEN / f"{name}-{lam}.edc").write_bytes(data)
            print(f'    ("{name}", {lam}): "{symbols_digest(codec, data)}",')


if __name__ == "__main__":
    main()
