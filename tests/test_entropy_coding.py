"""All coders against one harness, tables against exact arithmetic, the fast path against our own rANS."""

import doctest
import hashlib
import importlib
import math
from fractions import Fraction

import constriction
import numpy as np
import pytest
from elsewhere import NO_EXTRAS, run_python
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_ndtr
from scipy.stats import logistic, norm

import edu_compress.entropy_coding as ec
from edu_compress import BitstreamError
from edu_compress.entropy_coding import Table, portable

CODERS = {
    "range": (ec.RangeEncoder, ec.RangeDecoder),
    "rans": (ec.RansEncoder, ec.RansDecoder),
    "huffman": (ec.HuffmanEncoder, ec.HuffmanDecoder),
}
EXACT = [name for name in CODERS if name != "huffman"]  # those that reach -sum log2 p


def code(name, symbols, models):
    encoder = CODERS[name][0]()
    for symbol, model in zip(symbols, models, strict=True):
        encoder.encode(int(symbol), model)
    return encoder.finish()


# --- models to try: random ones, and those that coders stumble over ----------------------------


@st.composite
def tables(draw):
    n = draw(st.integers(2, 40))
    kind = draw(st.sampled_from(["random", "one nearly certain", "all but one impossible", "equal", "powers of two"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    counts = {
        "random": rng.integers(0, 1000, n),
        "one nearly certain": np.where(np.arange(n) == n // 2, 10**9, 1),
        "all but one impossible": np.where(np.arange(n) == n - 1, 1, 0),
        "equal": np.ones(n, np.int64),
        "powers of two": 2 ** rng.integers(0, 20, n),
    }[kind]
    return Table.from_counts(counts, precision=draw(st.sampled_from([8, 12, 16, 24])))


@st.composite
def messages(draw, max_models=4):
    """Symbols with one model each; likely ones, or all equally often, so that the improbable are coded too."""
    models = draw(st.lists(tables(), min_size=1, max_size=max_models))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chosen = [models[i] for i in rng.integers(0, len(models), draw(st.integers(0, 300)))]
    if draw(st.booleans()):
        symbols = [int(rng.integers(len(model))) for model in chosen]
    else:
        symbols = [model.symbol_at(int(rng.integers(1 << model.precision))) for model in chosen]
    return symbols, chosen


# --- the harness: every coder ------------------------------------------------------------------


@pytest.mark.parametrize("name", CODERS)
@given(message=messages(), tail=st.binary(max_size=12))
def test_round_trip_uses_exactly_the_bytes_written_whatever_follows(name, message, tail):
    symbols, models = message
    data = code(name, symbols, models)
    if name == "rans":
        check_stack(data, symbols, models, tail)
        return
    decoder = CODERS[name][1](data + tail)
    assert [decoder.decode(model) for model in models] == symbols
    assert decoder.consumed() == len(data)


def check_stack(data, symbols, models, tail):
    """A stack is read from its top, so what must not matter is what lies below: it is there again afterwards."""
    decoder = ec.RansDecoder(data)
    assert [decoder.decode(model) for model in models] == symbols
    assert decoder.stack.all_words() == []
    below = [1 + byte for byte in tail] + [1, 1]
    stack = ec.RansStack(below)
    for symbol, model in zip(reversed(symbols), reversed(models), strict=True):
        stack.push(*model.interval(symbol), model.precision)
    assert [stack.pop(model) for model in models] == symbols
    assert stack.all_words() == below


@pytest.mark.parametrize("name", EXACT)
@given(message=messages())
def test_length_is_the_information_content(name, message):
    symbols, models = message
    bits = sum(float(model.bits(np.array(symbol))) for symbol, model in zip(symbols, models, strict=True))
    assert 8 * len(code(name, symbols, models)) <= 1.001 * bits + 64


@pytest.mark.parametrize("name", EXACT)
def test_length_of_a_long_message_is_within_a_tenth_of_a_percent(name):
    rng = np.random.default_rng(0)
    table = Table.from_counts([900, 50, 30, 15, 5])
    symbols = rng.choice(5, 20_000, p=table.widths / 2**24)
    bits = table.bits(symbols).sum()
    assert bits - 1 <= 8 * len(code(name, symbols, [table] * len(symbols))) <= 1.001 * bits + 64


def test_carry_ripples_through_a_run_of_255():
    encoder = ec.RangeEncoder()
    encoder._out = bytearray([7, 255, 255])
    encoder._low = (1 << 64) + 5
    encoder._carry()
    assert (list(encoder._out), encoder._low) == ([8, 0, 0], 5)


def test_messages_with_long_runs_of_carries_survive():
    table = Table.from_counts([1, 10**7, 1])  # the middle interval contains 1/2: the top byte stays unsettled long
    for end in (0, 1, 2):
        symbols = [1] * 3000 + [end]
        data = code("range", symbols, [table] * len(symbols))
        decoder = ec.RangeDecoder(data)
        assert [decoder.decode(table) for _ in symbols] == symbols


def test_narrowing_by_hand_contains_the_coded_number():
    table = Table.from_counts([2, 1, 1], precision=8)
    symbols = [0, 2, 1, 0, 0]
    low, width = list(ec.narrowing_steps(symbols, table))[-1]
    data = code("range", symbols, [table] * 5)
    number = Fraction(int.from_bytes(data, "big"), 256 ** len(data))
    assert low <= number < low + width
    assert 8 * len(data) <= math.ceil(-math.log2(width)) + 8


# --- data that end too early -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["range", "huffman"])
@given(message=messages(), data=st.data())
def test_a_decoder_tells_exactly_when_it_ran_dry(name, message, data):
    symbols, models = message
    coded = code(name, symbols, models)
    decoder = CODERS[name][1](coded)
    for model in models:
        decoder.decode(model)
        assert not decoder.ran_dry
    if coded:
        decoder = CODERS[name][1](coded[: data.draw(st.integers(0, len(coded) - 1))])
        try:
            for model in models:
                decoder.decode(model)
            assert decoder.ran_dry
        except BitstreamError:
            pass


@given(messages())
def test_with_an_end_mark_rans_tells_exactly_when_it_ran_dry(message):
    symbols, models = message
    encoder = ec.RansEncoder(end_mark=True)
    for symbol, model in zip(symbols, models, strict=True):
        encoder.encode(symbol, model)
    coded = encoder.finish()
    bits = sum(float(model.bits(symbol)) for symbol, model in zip(symbols, models, strict=True))
    assert len(coded) <= bits / 8 * 1.01 + 12  # a word for the mark, and two to fill up
    decoder = ec.RansDecoder(coded, end_mark=True)
    for symbol, model in zip(symbols, models, strict=True):
        assert decoder.decode(model) == symbol and not decoder.ran_dry
    for model in models[:1]:
        decoder.decode(model)
        assert decoder.ran_dry  # one symbol too many


@pytest.mark.parametrize("ours", [False, True])
@given(values=st.lists(st.integers(-1, 1), max_size=60))
def test_with_an_end_mark_the_fast_path_tells_exactly_when_it_ran_dry(ours, values):
    table = Table.from_counts([10**6, 1, 1], first=-1)  # a likely number 0, which costs nothing on an empty stack
    encoder = ec.FastEncoder(ours, end_mark=True)
    encoder.encode(values, np.zeros(len(values), int), [table])
    data = encoder.finish()
    decoder = ec.FastDecoder(data, ours, end_mark=True)
    for value in values:
        assert not decoder.exhausted
        assert decoder.decode(np.zeros(1, int), [table]) == value and not decoder.ran_dry
    decoder.finish()
    decoder.decode(np.zeros(1, int), [table])
    assert decoder.ran_dry
    with pytest.raises(BitstreamError, match="left over"):
        decoder.finish()
    one_more = np.zeros(len(values) + 1, int)
    with pytest.raises(BitstreamError, match="left over"):
        ec.decode_values(data, one_more, [table], end_mark=True)
    assert ec.encode_values(np.array(values), one_more[1:], [table], end_mark=True) == data


@pytest.mark.parametrize("ours", [False, True])
def test_without_an_end_mark_a_few_values_may_come_from_nothing(ours):
    table = Table.from_counts([1, 10, 1])
    encoder = ec.FastEncoder(ours)
    encoder.encode([2, *[0] * 64], np.zeros(65, int), [table])  # the last ones, pushed first, leave no trace
    data = encoder.finish()
    decoder = ec.FastDecoder(data, ours)
    assert decoder.decode(np.zeros(1, int), [table]) == 2
    assert decoder.exhausted and not decoder.ran_dry
    assert not decoder.decode(np.zeros(64, int), [table]).any() and not decoder.ran_dry
    decoder.finish()
    decoder.decode(np.zeros(1, int), [table])
    assert decoder.ran_dry
    one_by_one = ec.RansDecoder(data)
    assert [one_by_one.decode(table) for _ in range(65)] == [2, *[0] * 64] and not one_by_one.ran_dry
    one_by_one.decode(table)
    assert one_by_one.ran_dry


@given(messages())
def test_the_states_are_as_their_modules_say(message):
    symbols, models = message
    encoder, stack = ec.RangeEncoder(), ec.RansStack()
    for symbol, model in zip(symbols, models, strict=True):
        encoder.encode(symbol, model)
        assert 0 <= encoder._low < 1 << 64 and 1 << 56 <= encoder._width < 1 << 64
        stack.push(*model.interval(symbol), model.precision)
        assert 0 <= stack.state < 1 << 64 and (stack.state >= 1 << 32 or not stack.words)
    low = encoder._low  # before it closes
    decoder = ec.RangeDecoder(encoder.finish())
    for model in models:
        decoder.decode(model)
        assert 0 <= decoder._code < decoder._width and 1 << 56 <= decoder._width < 1 << 64
        assert 0 <= decoder._low < 1 << 64
    assert decoder._low == low
    for model in reversed(models):
        stack.pop(model)
        assert 0 <= stack.state < 1 << 64 and (stack.state >= 1 << 32 or not stack.words)


@pytest.mark.parametrize("name", EXACT)
@given(data=st.binary(max_size=60), model=tables())
def test_noise_decodes_to_something_or_says_so(name, data, model):
    try:
        decoder = CODERS[name][1](data)
        symbols = [decoder.decode(model) for _ in range(50)]
    except BitstreamError:
        return
    assert all(0 <= symbol < len(model) for symbol in symbols)


# --- Huffman -----------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=40).filter(any))
def test_huffman_is_within_one_bit_of_the_entropy_and_a_full_prefix_code(counts):
    lengths = ec.huffman_lengths(counts)
    used = [length for length in lengths if length]
    mean = sum(count * length for count, length in zip(counts, lengths, strict=True)) / sum(counts)
    assert ec.entropy(np.array(counts)) - 1e-9 <= mean < ec.entropy(np.array(counts)) + 1 + 1e-9
    assert sum(Fraction(1, 2 ** int(length)) for length in used) == (1 if len(used) > 1 else Fraction(1, 2))


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=12), st.integers(4, 8))
def test_length_limited_code_is_the_best_within_the_limit(counts, limit):
    lengths = ec.huffman_lengths(counts, limit)
    assert lengths.max() <= limit
    assert sum(Fraction(1, 2 ** int(length)) for length in lengths) == 1
    free = ec.huffman_lengths(counts)
    cost = lambda chosen: sum(count * int(length) for count, length in zip(counts, chosen, strict=True))  # noqa: E731
    assert cost(lengths) >= cost(free)
    if free.max() <= limit:
        assert cost(lengths) == cost(free)


def test_package_merge_finds_the_optimum_of_a_full_search():
    counts, limit = [1, 1, 2, 3, 5, 8, 13], 4  # Fibonacci: Huffman would need 6 bits
    assert ec.huffman_lengths(counts).max() == 6

    def best(n, left, cap):  # smallest cost of n symbols, rarest last, lengths rising, Kraft sum at most `left`
        if n == len(counts):
            return 0
        ordered = sorted(counts, reverse=True)
        options = [length for length in range(cap, limit + 1) if Fraction(1, 2**length) <= left]
        costs = [ordered[n] * length + best(n + 1, left - Fraction(1, 2**length), length) for length in options]
        return min(costs, default=math.inf)

    lengths = ec.huffman_lengths(counts, limit)
    assert sum(count * int(length) for count, length in zip(counts, lengths, strict=True)) == best(0, Fraction(1), 1)


def test_what_is_certain_has_no_entropy():
    assert str(ec.entropy(np.array([7, 0]))) == "0.0"  # and not -0.0, which students would see


def test_canonical_codes_of_the_deflate_standard():
    """The example of RFC 1951, section 3.2.2."""
    code_book = ec.HuffmanCode([3, 3, 3, 3, 3, 2, 4, 4])
    assert [code_book.bits(s) for s in range(8)] == ["010", "011", "100", "101", "110", "00", "1110", "1111"]


def test_impossible_codes_are_refused():
    with pytest.raises(ValueError, match="prefix code"):
        ec.HuffmanCode([1, 1, 1])
    with pytest.raises(ValueError, match="do not fit"):
        ec.huffman_lengths([1] * 5, limit=2)


# --- adaptive models ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXACT)
@given(st.lists(st.integers(0, 5), max_size=400), st.integers(1, 8))
def test_adaptive_table_round_trip(name, symbols, rate):
    encoder, model = CODERS[name][0](), ec.AdaptiveTable(6, rate)
    for symbol in symbols:
        encoder.encode(symbol, model)
        model.update(symbol)
        assert min(b - a for a, b in zip(model.bounds, model.bounds[1:], strict=False)) >= 1
    decoder, model = CODERS[name][1](encoder.finish()), ec.AdaptiveTable(6, rate)
    for symbol in symbols:
        assert decoder.decode(model) == symbol
        model.update(symbol)


@pytest.mark.parametrize("p", [0.5, 0.9, 0.01])
def test_adaptive_bit_learns_the_probability(p):
    bits = (np.random.default_rng(1).random(20_000) < p).astype(int).tolist()
    encoder, model = ec.RangeEncoder(), ec.AdaptiveBit()
    for bit in bits:
        encoder.encode(bit, model)
        model.update(bit)
    data = encoder.finish()
    ideal = ec.entropy(np.bincount(bits)) * len(bits)
    assert ideal < 8 * len(data) < 1.2 * ideal + 64  # two estimates that never rest cost something
    decoder, model = ec.RangeDecoder(data), ec.AdaptiveBit()
    for bit in bits:
        assert decoder.decode(model) == bit
        model.update(bit)


@pytest.mark.parametrize("name", EXACT)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 65535)), max_size=300))
def test_bits_with_given_probabilities(name, pairs):
    models = [ec.Bit(p) for _, p in pairs]
    data = code(name, [bit for bit, _ in pairs], models)
    decoder = CODERS[name][1](data)
    assert [decoder.decode(model) for model in models] == [bit for bit, _ in pairs]
    bits = sum(16 - math.log2(p if bit else 65536 - p) for bit, p in pairs)
    assert 8 * len(data) <= 1.001 * bits + 64


@pytest.mark.parametrize("p", [0, 65536, -1])
def test_a_certain_bit_is_refused(p):
    with pytest.raises(ValueError, match="1 to 65535"):
        ec.Bit(p)


@given(st.lists(st.integers(0, 1), max_size=3000))
def test_adaptive_bit_never_reaches_certainty(bits):
    model = ec.AdaptiveBit()
    for bit in bits + [1] * 500:
        model.update(bit)
        (_, zero), (_, one) = model.interval(0), model.interval(1)
        assert zero >= 1 and one >= 1 and zero + one == 1 << 16
        assert model.symbol_at(0) == 1 and model.symbol_at((1 << 16) - 1) == 0


# --- tables ------------------------------------------------------------------------------------


@given(tables())
def test_table_intervals_tile_the_whole_range(table):
    ends = 0
    for symbol in range(len(table)):
        start, width = table.interval(symbol)
        assert start == ends and width >= 1
        assert table.symbol_at(start) == table.symbol_at(start + width - 1) == symbol
        ends = start + width
    assert ends == 1 << table.precision


def test_broken_tables_are_refused():
    for widths in ([1 << 24], [0, 1 << 24], [1, 2]):
        with pytest.raises(ValueError, match="2\\^24"):
            Table(np.array(widths))


@pytest.mark.parametrize("sigma", [0.11, 0.5, 1.0, 3.7, 40.0, 256.0])
def test_gaussian_table_is_the_rounded_gaussian(sigma):
    table = Table.gaussian(sigma)
    values = np.arange(table.first, table.first + len(table) - 1)
    p = norm.cdf((values + 0.5) / sigma) - norm.cdf((values - 0.5) / sigma)
    assert np.abs(table.widths[:-1] / 2**24 - p).max() < len(table) / 2**24
    cost = (p * (24 - np.log2(table.widths[:-1]))).sum()
    assert cost < 1.0005 * -(p * np.log2(p + 1e-300)).sum() + 1e-3  # the price of integer tables


def test_logistic_table_is_the_rounded_logistic():
    table = Table.logistic(2.5)
    values = np.arange(table.first, table.first + len(table) - 1)
    p = logistic.cdf((values + 0.5) / 2.5) - logistic.cdf((values - 0.5) / 2.5)
    assert np.abs(table.widths[:-1] / 2**24 - p).max() < len(table) / 2**24


def test_scales_are_those_of_the_open_implementations():
    np.testing.assert_allclose(ec.SCALES, np.exp(np.linspace(np.log(0.11), np.log(256), 64)), rtol=1e-13)
    assert ec.nearest_scale(np.array([0.0, 0.11, 0.12, 256.0, 1e9])).tolist() == [0, 0, 1, 63, 63]


GOLDEN = "199bf52906ceb8f035929e3ff2c943c33903d501dad91392119a995e491d16df"  # made on Linux x86-64 with AVX-512


def digest_of_tables() -> str:
    digest = hashlib.sha256()
    for table in [*ec.gaussian_tables(), Table.logistic(0.7), Table.logistic(20.0)]:
        digest.update(np.int64(table.first).tobytes() + table.widths.astype("<i8").tobytes())
    return digest.hexdigest()


def test_tables_are_the_same_on_this_machine():
    assert digest_of_tables() == GOLDEN


def test_tables_are_the_same_without_the_wide_instructions_of_this_machine():
    code = "import test_entropy_coding as t; print(t.digest_of_tables())"
    assert run_python(code, NPY_DISABLE_CPU_FEATURES=NO_EXTRAS) == GOLDEN


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [
        (portable.exp, np.exp, -50, 50),
        (portable.tanh, np.tanh, -30, 30),
        (portable.softplus, lambda x: np.logaddexp(0, x), -30, 30),
        (portable.sigmoid, lambda x: 1 / (1 + np.exp(-x)), -30, 30),
        (lambda x: portable.log(portable.exp(x)), lambda x: x, -50, 50),
    ],
    ids=["exp", "tanh", "softplus", "sigmoid", "log"],
)
def test_portable_functions_are_accurate(ours, theirs, low, high):
    x = np.linspace(low, high, 20_001)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=3e-14, atol=3e-15)


def test_portable_normal_cdf_is_accurate():
    x = np.linspace(-12, 12, 20_001)
    np.testing.assert_allclose(portable.normal_cdf(x), np.exp(log_ndtr(x)), atol=1e-15)


# --- values beyond a table, and the fast path -------------------------------------------------

wide = st.integers(-(2**30), 2**30) | st.integers(-5, 5)


@pytest.mark.parametrize("name", EXACT)
@given(st.lists(wide, max_size=60))
def test_every_value_can_be_coded(name, values):
    table = Table.gaussian(1.3)
    encoder = CODERS[name][0]()
    for value in values:
        ec.encode_value(value, table, encoder)
    decoder = CODERS[name][1](encoder.finish())
    assert [ec.decode_value(table, decoder) for _ in values] == values


@given(st.lists(st.lists(st.tuples(wide, st.integers(0, 63)), max_size=50), max_size=4))
def test_fast_path_round_trip_in_several_passes(passes):
    tables = ec.gaussian_tables()
    encoder = ec.FastEncoder()
    for one in passes:
        encoder.encode(np.array([v for v, _ in one], int), np.array([i for _, i in one], int), tables)
    decoder = ec.FastDecoder(encoder.finish())
    for one in passes:
        assert decoder.decode(np.array([i for _, i in one], int), tables).tolist() == [v for v, _ in one]
    decoder.finish()


@given(st.lists(st.lists(st.tuples(wide, st.integers(0, 63)), max_size=20), max_size=3))
def test_our_coder_makes_the_bytes_of_the_fast_path_and_reads_them(passes):
    tables = ec.gaussian_tables()
    fast, ours = ec.FastEncoder(), ec.FastEncoder(ours=True)
    for one in passes:
        for encoder in (fast, ours):
            encoder.encode(np.array([v for v, _ in one], int), np.array([i for _, i in one], int), tables)
    data = ours.finish()
    assert data == fast.finish()
    decoder = ec.FastDecoder(data, ours=True)
    for one in passes:
        assert decoder.decode(np.array([i for _, i in one], int), tables).tolist() == [v for v, _ in one]
    decoder.finish()


@pytest.mark.parametrize("ours", [False, True])
@given(st.lists(st.integers(-20, 20), max_size=30))
def test_a_last_value_that_is_not_its_tables_first_tells_when_data_end(ours, values):
    encoder, table = ec.FastEncoder(), Table.gaussian(0.2)
    for value in [*values, 0]:  # 0 stands in the middle of its table
        encoder.encode(np.array([value]), np.array([0]), [table])
    decoder = ec.FastDecoder(encoder.finish(), ours)
    for value in [*values, 0]:
        assert not decoder.exhausted
        assert decoder.decode(np.array([0]), [table]) == value
    assert decoder.exhausted


def test_fast_path_length_is_the_information_content():
    rng = np.random.default_rng(0)
    tables = ec.gaussian_tables()
    indexes = rng.integers(0, 64, 50_000)
    values = np.rint(rng.normal(size=50_000) * ec.SCALES[indexes]).astype(int)
    bits = sum(tables[i].bits(tables[i].symbols(values[indexes == i])).sum() for i in range(64))
    assert bits < 8 * len(ec.encode_values(values, indexes, tables)) < 1.001 * bits + 64


@given(messages())
def test_our_rans_makes_constrictions_words(message):
    symbols, models = message
    models = [Table.from_counts(model.widths) for model in models]  # in 24 bits
    coder = constriction.stream.stack.AnsCoder()
    for symbol, model in zip(reversed(symbols), reversed(models), strict=True):
        theirs = constriction.stream.model.Categorical((model.widths - 1).astype(np.float64), perfect=False)
        coder.encode_reverse(np.array([symbol], np.int32), theirs)
    assert code("rans", symbols, models) == coder.get_compressed().astype("<u4").tobytes()


def test_fast_path_makes_the_stream_of_our_rans():
    rng = np.random.default_rng(3)
    tables = ec.gaussian_tables()[::9]
    indexes = np.sort(rng.integers(0, len(tables), 3000))
    values = np.rint(rng.normal(size=3000) * ec.SCALES[::9][indexes] * 0.5).astype(int)
    inside = [abs(v) < len(tables[i]) // 2 for v, i in zip(values, indexes, strict=True)]
    values, indexes = values[inside], indexes[inside]
    symbols = [int(tables[i].symbols(v)) for v, i in zip(values, indexes, strict=True)]
    assert ec.encode_values(values, indexes, tables) == code("rans", symbols, [tables[i] for i in indexes])


@given(st.binary(max_size=80))
def test_fast_path_on_noise_is_an_error_or_numbers(data):
    try:
        values = ec.decode_values(data, np.full(40, 20), ec.gaussian_tables())
    except BitstreamError:
        return
    assert values.shape == (40,)


def test_leftovers_and_broken_words_are_errors():
    tables = ec.gaussian_tables()
    data = ec.encode_values(np.arange(100) % 7, np.full(100, 30), tables)
    with pytest.raises(BitstreamError, match="left over"):
        ec.decode_values(data, np.full(50, 30), tables)
    with pytest.raises(BitstreamError, match="four bytes"):
        ec.decode_values(data[:-1], np.full(100, 30), tables)
    with pytest.raises(BitstreamError, match="last word"):
        ec.FastDecoder(data + bytes(4))


def test_values_a_table_cannot_hold_are_refused():
    with pytest.raises(ValueError, match="no escape"):
        Table.from_counts([1, 1]).symbols(np.array([2]))
    with pytest.raises(ValueError, match="too far"):
        ec.encode_values(np.array([2**40]), np.array([0]), ec.gaussian_tables())


@pytest.mark.parametrize("name", ["__init__", "adaptive", "fast", "huffman", "range_coder", "rans"])
def test_the_examples_of_the_docstrings_run(name):
    outcome = doctest.testmod(importlib.import_module(f"edu_compress.entropy_coding.{name}".removesuffix(".__init__")))
    assert outcome.attempted > 0 and outcome.failed == 0
