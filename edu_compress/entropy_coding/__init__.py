r"""Entropy coding: how symbols become bits, down to the limit of −Σ log2 p.

A *model* says how probable each symbol is; a *coder* turns that into bits. They meet in one integer interval, so any
coder of this package works with any model, the one of a trained network included::

                       model                                         coder
    symbol --> interval(symbol) = (start, width) --> narrow the interval / push on the stack --> bytes
    symbol <-- symbol_at(position)               <-- position in 0 ... 2^precision - 1       <-- bytes

    p(symbol) = width / 2^precision, exactly

    models                                       coders
      Table            fixed integer table         HuffmanEncoder / -Decoder   whole bits per symbol
      gaussian_tables  64 widths of a Gaussian     RangeEncoder / -Decoder     arithmetic coding; first in, first out
      Bit              a given probability         RansEncoder / -Decoder      a stack: last in, first out
      AdaptiveTable    learns while it codes       FastEncoder / -Decoder      constriction: the same stream as rANS
      AdaptiveBit      the same for one bit

How a message is coded, with any of them::

    >>> table = Table.from_counts([8, 4, 2, 2])
    >>> encoder = RangeEncoder()
    >>> for symbol in [0, 1, 0, 3]:
    ...     encoder.encode(symbol, table)
    >>> data = encoder.finish()
    >>> decoder = RangeDecoder(data)
    >>> [decoder.decode(table) for _ in range(4)]
    [0, 1, 0, 3]

Invariants, tested for every coder: the decoder returns the symbols; it uses exactly the bytes that the encoder made,
whatever stands behind them, and says when some are missing (``ran_dry``); their number is within 0.1 % + 64 bits of
−Σ log2 p (Huffman: of its own code lengths).

Everything here is integers. Two computers that disagree about a probability in its last bit decode different
symbols from there on, so tables are made with portable arithmetic (:mod:`.portable`), the same on every machine.

References: Huffman, Proc. IRE 40 (1952); Larmore, Hirschberg, J. ACM 37 (1990) (length limit); Witten, Neal, Cleary,
Comm. ACM 30 (1987) (arithmetic coding); Martin, Video & Data Recording Conf. (1979) (range coding); Duda,
arXiv:1311.2540 (asymmetric numeral systems); Bamler, arXiv:2201.01741 (constriction).

Taught in lesson 02.
"""

from .adaptive import AdaptiveBit, AdaptiveTable, Bit
from .fast import FastDecoder, FastEncoder, decode_values, encode_values
from .huffman import HuffmanCode, HuffmanDecoder, HuffmanEncoder, canonical_codes, huffman_lengths, merge_steps
from .range_coder import RangeDecoder, RangeEncoder, narrowing_steps
from .rans import RansDecoder, RansEncoder, RansStack
from .tables import (
    PRECISION,
    SCALES,
    Decoder,
    Encoder,
    Model,
    Table,
    decode_value,
    encode_value,
    entropy,
    gaussian_tables,
    nearest_scale,
    shifted,
    shifted_gaussian_tables,
)

__all__ = [
    "PRECISION",
    "SCALES",
    "AdaptiveBit",
    "AdaptiveTable",
    "Bit",
    "Decoder",
    "Encoder",
    "FastDecoder",
    "FastEncoder",
    "HuffmanCode",
    "HuffmanDecoder",
    "HuffmanEncoder",
    "Model",
    "RangeDecoder",
    "RangeEncoder",
    "RansDecoder",
    "RansEncoder",
    "RansStack",
    "Table",
    "canonical_codes",
    "decode_value",
    "decode_values",
    "encode_value",
    "encode_values",
    "entropy",
    "gaussian_tables",
    "huffman_lengths",
    "merge_steps",
    "narrowing_steps",
    "nearest_scale",
    "shifted",
    "shifted_gaussian_tables",
]
