"""Symbols per second of every coder, both ways: ``python benchmarks/entropy_coding.py``.

The task is that of a hyperprior: one of 64 Gaussian tables for each symbol. The fast path codes 500,000 of them;
our own coders are shown on fewer, because they are Python. Ratios are to the fast path in the same run.
"""

import statistics
import time

import numpy as np

import edu_compress.entropy_coding as ec

N, FEW, ROUNDS = 500_000, 20_000, 5


def seconds(function) -> tuple[float, object]:
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def own(encoder_class, decoder_class, symbols, models):
    def encode():
        encoder = encoder_class()
        for symbol, model in zip(symbols, models, strict=True):
            encoder.encode(symbol, model)
        return encoder.finish()

    def decode(data):
        decoder = decoder_class(data)
        return [decoder.decode(model) for model in models]

    return encode, decode


def main() -> None:
    rng = np.random.default_rng(0)
    tables = ec.gaussian_tables()
    indexes = rng.integers(0, 64, N)
    values = np.rint(rng.normal(size=N) * ec.SCALES[indexes]).astype(np.int64)
    models = [tables[i] for i in indexes[:FEW]]
    symbols = [int(model.symbols(value)) for model, value in zip(models, values, strict=False)]
    bits = sum(float(table.bits(table.symbols(values[indexes == i])).sum()) for i, table in enumerate(tables))

    tasks = {
        "fast path": (
            N,
            lambda: ec.encode_values(values, indexes, tables),
            lambda data: ec.decode_values(data, indexes, tables),
        ),
        "our rANS": (FEW, *own(ec.RansEncoder, ec.RansDecoder, symbols, models)),
        "our range coder": (FEW, *own(ec.RangeEncoder, ec.RangeDecoder, symbols, models)),
        "our Huffman": (FEW, *own(ec.HuffmanEncoder, ec.HuffmanDecoder, symbols, models)),
    }
    times = {name: ([], []) for name in tasks}
    for _ in range(ROUNDS):  # in turn, so that all see the same noise of the machine
        for name, (count, encode, decode) in tasks.items():
            spent, data = seconds(encode)
            times[name][0].append(spent / count)
            times[name][1].append(seconds(lambda data=data, decode=decode: decode(data))[0] / count)
            if name == "fast path":
                overhead = 8 * len(data) / bits - 1
    fast = [statistics.median(column) for column in times["fast path"]]
    print(f"{'coder':16} {'encode':>16} {'decode':>16}   slower than the fast path")
    for name, columns in times.items():
        per = [statistics.median(column) for column in columns]
        rates = " ".join(f"{1e-6 / p:10.3f} Msym/s" for p in per)
        print(f"{name:16} {rates}   {per[0] / fast[0]:6.0f}x {per[1] / fast[1]:6.0f}x")
    print(f"length of the fast path's stream above the information content: {100 * overhead:.4f} %")


if __name__ == "__main__":
    main()
