r"""The outer layer of a JPEG file: marker segments, found and read (ITU-T T.81, Annex B).

A JPEG file is a list of *segments*. Each begins with a *marker*: the byte FF and a code. Most then give their own
length, so that a reader can step over what it does not know. Only the entropy-coded data of a scan have no length:
they end where the next marker stands, which is why a data byte FF is written as FF 00 ("byte stuffing")::

    FF D8   FF E0 len ...   FF DB len ...   FF C0 len ...   FF C4 len ...   FF DA len ...   data ...   FF D9
    SOI     APP0            DQT             SOF0            DHT             SOS                        EOI
    start   JFIF, density   quantisation    frame header:   Huffman         scan header     scan data  end
                            tables          size, sampling  tables

    bytes --read_segments--> [Segment, ...] --parse_frame, parse_scan, ...--> Frame, Scan, tables

Invariants: the segments of a file touch each other, and their lengths sum to ``len(data)``; whatever is wrong with a
segment is a :class:`~edu_compress.errors.BitstreamError` that names it and its place.

References: ITU-T T.81 (1992), B.1.1 (markers, Table B.1), B.2 (syntax); JFIF: ITU-T T.871 (2011), clause 10;
Adobe's segment: T.872 (2012), 6.5.3.

Taught in lesson 01.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...errors import BitstreamError
from .tables import ZIGZAG, HuffmanTable, Marker

_NAMES = {0xC0 + n: f"SOF{n}" for n in range(16)} | {0xC8: "JPG", 0xCC: "DAC", 0xDE: "DHP", 0xDF: "EXP"}
_NAMES |= {0xD0 + n: f"RST{n}" for n in range(8)} | {0xE0 + n: f"APP{n}" for n in range(16)}
_NAMES |= {marker.value: marker.name for marker in Marker}  # DHT lies among the SOFs

# Table B.1: the number in SOFn says by which process the picture is coded.
_PROCESSES = {"SOF0": "baseline", "SOF1": "extended sequential", "SOF2": "progressive"}
_OTHER_PROCESSES = {"SOF3": "lossless", "SOF11": "lossless", "SOF9": "arithmetic-coded", "SOF10": "arithmetic-coded"}
_OTHER_PROCESSES |= {f"SOF{n}": "hierarchical" for n in (5, 6, 7, 13, 14, 15)}

_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)  # FFs before a marker are fill bytes (B.1.1.2)
# Inside scan data, fill bytes are left to rstrip: a search for \xff+ would try each FF of a long run as its beginning,
# which takes the square of the run's length.
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # neither a stuffed FF 00 nor a restart marker
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")


@dataclass(frozen=True)
class Segment:
    """One piece of a file.

    Attributes:
        marker: second byte of its marker; None for the scan data, fill bytes and trailing bytes, which have none.
        name: as in T.81, "DQT"; or "scan data", "fill bytes", "trailing bytes".
        offset: of its first byte in the file.
        length: of the whole segment in bytes, marker and length field included.
        payload: what is inside, without marker and length field.
    """

    marker: int | None
    name: str
    offset: int
    length: int
    payload: bytes

    @property
    def description(self) -> str:
        """The header fields in one line of words.

        Raises:
            BitstreamError: the fields make no sense.
        """
        return _description(self)


def read_segments(data: bytes) -> list[Segment]:
    """Cut a file into its segments (B.2.1).

    Returns:
        The segments in file order; each scan header is followed by its data as a segment of its own. The lengths sum
        to ``len(data)``. The last one may be anything: whether a file is complete, the decoder says.

    Raises:
        BitstreamError: this is no JPEG file, a length field lies, or there is no marker where one must be.
    """
    data = bytes(data)
    if data[:2] != b"\xff\xd8":
        raise BitstreamError("This is not a JPEG file: it does not begin with the bytes FF D8.")
    segments = [Segment(Marker.SOI, "SOI", 0, 2, b"")]

    def add(marker: int | None, name: str, length: int, header: int = 0) -> None:
        offset = segments[-1].offset + segments[-1].length
        segments.append(Segment(marker, name, offset, length, data[offset + header : offset + length]))

    while (position := segments[-1].offset + segments[-1].length) < len(data):
        if segments[-1].name == "EOI":
            add(None, "trailing bytes", len(data) - position)
        elif segments[-1].name == "SOS":
            end = _SCAN_END.search(data, position)
            add(None, "scan data", len(data[position : end.start()].rstrip(b"\xff")) if end else len(data) - position)
        else:
            found = _MARKER.match(data, position)
            if not found:
                raise BitstreamError(f"The JPEG file is damaged: byte {position:,} should begin a marker and does not.")
            if (fill := found.end() - 2 - position) > 0:
                add(None, "fill bytes", fill)
            marker = found[1][0]
            name = _NAMES.get(marker, f"reserved {marker:02X}")
            if name == "EOI":
                add(marker, name, 2, header=2)
            else:
                add(marker, name, 2 + _stated_length(data, position + fill, name), header=4)
    return segments


def _stated_length(data: bytes, offset: int, name: str) -> int:
    """Read and check the length field of the segment at ``offset``; it counts itself, but not the marker (B.1.1.4)."""
    if name in ("SOI", "reserved 01") or name.startswith("RST"):
        raise BitstreamError(f"The JPEG file is damaged: it has a marker {name} at byte {offset:,}, where none may be.")
    length = int.from_bytes(data[offset + 2 : offset + 4], "big")
    left = len(data) - offset - 2
    if left < 2 or length > left:
        raise BitstreamError(
            f"The JPEG file ends inside its {name} segment at byte {offset:,}: it is cut off or damaged."
        )
    if length < 2:
        raise BitstreamError(
            f"The {name} segment at byte {offset:,} says that it is {length} bytes long; 2 is the least."
        )
    return length


def restart_intervals(segment: Segment) -> tuple[list[bytes], list[int]]:
    """Split scan data at their restart markers, and take the stuffed zero bytes out (B.1.1.5, F.1.2.3).

    Returns:
        The coded bytes of each interval, and the number 0-7 of each restart marker between them.
    """
    intervals, markers, start = [], [], 0
    for found in _RESTART.finditer(segment.payload):
        intervals.append(segment.payload[start : found.start()].rstrip(b"\xff"))
        markers.append(found[1][0] - 0xD0)
        start = found.end()
    intervals.append(segment.payload[start:])
    return [interval.replace(b"\xff\x00", b"\xff") for interval in intervals], markers


# --- what is inside the segments --------------------------------------------------------------


class _Fields:
    """Reads the fields of one segment in order; to run out of bytes, or to have some left, is an error."""

    def __init__(self, segment: Segment):
        self.segment, self.position = segment, 0

    def error(self, problem: str) -> BitstreamError:
        return BitstreamError(f"The {self.segment.name} segment at byte {self.segment.offset:,} {problem}.")

    def take(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > len(self.segment.payload):
            raise self.error("ends in the middle of its fields")
        return self.segment.payload[start : self.position]

    def byte(self) -> int:
        return self.take(1)[0]

    def nibbles(self) -> tuple[int, int]:
        return divmod(self.byte(), 16)

    def short(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def more(self) -> bool:
        return self.position < len(self.segment.payload)

    def finish(self) -> None:
        if self.more():
            raise self.error(f"has {len(self.segment.payload) - self.position:,} bytes too many")


@dataclass(frozen=True)
class FrameComponent:
    """A line of a frame header (B.2.2): identifier C, sampling factors H and V, number Tq of its quantisation table."""

    identifier: int
    h: int
    v: int
    quantisation: int


@dataclass(frozen=True)
class Frame:
    """A frame header (B.2.2). ``process`` is "baseline", "extended sequential" or "progressive"."""

    process: str
    height: int
    width: int
    components: tuple[FrameComponent, ...]

    @property
    def progressive(self) -> bool:
        return self.process == "progressive"

    @property
    def h_max(self) -> int:
        return max(component.h for component in self.components)

    @property
    def v_max(self) -> int:
        return max(component.v for component in self.components)

    @property
    def mcu_rows(self) -> int:
        """Rows of MCUs where all components are interleaved (A.2.3): one MCU covers 8 h_max x 8 v_max pixels."""
        return -(-self.height // (8 * self.v_max))

    @property
    def mcu_columns(self) -> int:
        return -(-self.width // (8 * self.h_max))


@dataclass(frozen=True)
class ScanComponent:
    """One line of a scan header (B.2.3): a component, and the numbers of its DC and AC Huffman tables."""

    identifier: int
    dc_table: int
    ac_table: int


@dataclass(frozen=True)
class Scan:
    """A scan header (B.2.3).

    Attributes:
        components: in coding order.
        start, end: first and last coefficient in zigzag order, Ss and Se ("spectral selection").
        high, low: Ah and Al ("successive approximation"): bits of the coefficients below ``low`` are not in this scan;
            those from ``high`` on have been sent before; ``high`` = 0 in the first scan of a coefficient.
    """

    components: tuple[ScanComponent, ...]
    start: int
    end: int
    high: int
    low: int


def parse_frame(segment: Segment) -> Frame:
    """Read a frame header, SOF0 to SOF15 (B.2.2).

    Raises:
        BitstreamError: damaged, or a process that this decoder does not do.
    """
    fields = _Fields(segment)
    precision, height, width, count = fields.byte(), fields.short(), fields.short(), fields.byte()
    if segment.name in _OTHER_PROCESSES:
        raise BitstreamError(
            f"This JPEG file is {_OTHER_PROCESSES[segment.name]} ({segment.name}); "
            "only Huffman-coded baseline, extended sequential and progressive files can be decoded."
        )
    if precision != 8:
        raise BitstreamError(f"This JPEG file has {precision} bits per sample; this decoder reads files with 8 bits.")
    if height == 0:
        raise BitstreamError(
            "This JPEG file states its height after the picture (DNL); this decoder does not read that."
        )
    if width == 0:
        raise fields.error("says that the picture is 0 pixels wide")
    if count not in (1, 3, 4):
        raise BitstreamError(f"This JPEG file has {count} components; this decoder reads files with 1, 3 or 4.")
    components = []
    for _ in range(count):
        identifier, (h, v), quantisation = fields.byte(), fields.nibbles(), fields.byte()
        if not (1 <= h <= 4 and 1 <= v <= 4):
            raise fields.error(f"has sampling factors {h} x {v}, outside 1 to 4")
        components.append(FrameComponent(identifier, h, v, quantisation))
    fields.finish()
    if len({component.identifier for component in components}) < count:
        raise fields.error("gives two components the same identifier")
    return Frame(_PROCESSES[segment.name], height, width, tuple(components))


def parse_scan(segment: Segment) -> Scan:
    """Read a scan header, SOS (B.2.3)."""
    fields, components = _Fields(segment), []
    for _ in range(fields.byte()):
        identifier, (dc_table, ac_table) = fields.byte(), fields.nibbles()
        components.append(ScanComponent(identifier, dc_table, ac_table))
    start, end, (high, low) = fields.byte(), fields.byte(), fields.nibbles()
    fields.finish()
    if not components or len({component.identifier for component in components}) < len(components):
        raise fields.error("names no component, or one twice")
    return Scan(tuple(components), start, end, high, low)


def parse_quantisation_tables(segment: Segment) -> dict[int, np.ndarray]:
    """Read a DQT segment (B.2.4.1): {number: int64 [8, 8] step sizes in natural order}."""
    fields, tables = _Fields(segment), {}
    while fields.more():
        precision, number = fields.nibbles()
        if precision > 1 or number > 3:
            raise fields.error(f"defines table {number} of precision {precision}; that is out of range")
        steps = np.frombuffer(fields.take(64 << precision), dtype=">u2" if precision else "u1")
        if not steps.all():
            raise fields.error("has a step size of 0")
        table = np.empty(64, dtype=np.int64)
        table[ZIGZAG] = steps
        tables[number] = table.reshape(8, 8)
    return tables


def parse_huffman_tables(segment: Segment) -> dict[tuple[str, int], HuffmanTable]:
    """Read a DHT segment (B.2.4.2): {("DC" or "AC", number): table}."""
    fields, tables = _Fields(segment), {}
    while fields.more():
        table_class, number = fields.nibbles()
        if table_class > 1 or number > 3:
            raise fields.error(f"defines table {number} of class {table_class}; that is out of range")
        bits = tuple(fields.take(16))
        values = fields.take(sum(bits))
        tables["AC" if table_class else "DC", number] = HuffmanTable(bits, values)
    return tables


def parse_restart_interval(segment: Segment) -> int:
    """Read a DRI segment (B.2.4.4): MCUs between two restart markers, 0 for none."""
    fields = _Fields(segment)
    interval = fields.short()
    fields.finish()
    return interval


def parse_adobe(segment: Segment) -> int | None:
    """Read Adobe's APP14 segment: the colour transform (0 none, 1 YCbCr, 2 YCCK); None if it is not Adobe's."""
    payload = segment.payload
    return payload[11] if payload[:5] == b"Adobe" and len(payload) >= 12 else None


# --- in words ---------------------------------------------------------------------------------


def _description(segment: Segment) -> str:
    """The fields of a segment in one line of words."""
    describe = _DESCRIPTIONS.get(segment.name)
    if describe:
        return describe(segment)
    if segment.name in _PROCESSES or segment.name in _OTHER_PROCESSES:
        return _describe_frame(segment)
    if segment.name.startswith("APP"):
        return _describe_application(segment)
    return "not needed to decode the picture"


def _describe_frame(segment: Segment) -> str:
    frame = parse_frame(segment)
    components = [f"component {c.identifier}: {c.h} x {c.v}, table {c.quantisation}" for c in frame.components]
    return f"{frame.process}, 8 bits, {frame.height} rows x {frame.width} columns; " + "; ".join(components)


def _describe_application(segment: Segment) -> str:
    payload = segment.payload
    if segment.name == "APP0" and payload[:5] == b"JFIF\0" and len(payload) >= 12:
        major, minor, unit = payload[5:8]
        x, y = int.from_bytes(payload[8:10], "big"), int.from_bytes(payload[10:12], "big")
        return (
            f"JFIF {major}.{minor:02}, pixel density {x} x {y} {('(ratio only)', 'per inch', 'per cm')[min(unit, 2)]}"
        )
    if segment.name == "APP14" and (transform := parse_adobe(segment)) is not None:
        return f"Adobe, colour transform {transform} ({ {0: 'none', 1: 'YCbCr', 2: 'YCCK'}.get(transform, 'unknown') })"
    label = re.match(rb"[ -~]{3,}", payload)
    return f"application data {label[0].decode('ascii')!r}" if label else "application data"


def _describe_scan(segment: Segment) -> str:
    scan = parse_scan(segment)
    parts = [f"component {c.identifier}: DC table {c.dc_table}, AC table {c.ac_table}" for c in scan.components]
    return "; ".join(parts) + f"; coefficients {scan.start} to {scan.end}, bits Ah = {scan.high}, Al = {scan.low}"


def _describe_scan_data(segment: Segment) -> str:
    restarts = len(_RESTART.findall(segment.payload))
    return f"{restarts} restart markers, {segment.payload.count(bytes([255, 0])):,} stuffed zero bytes"


def _describe_quantisation(segment: Segment) -> str:
    tables = parse_quantisation_tables(segment).items()
    return "; ".join(
        f"table {number}: DC step {t[0, 0]}, AC steps {t.flat[1:].min()} to {t.max()}" for number, t in tables
    )


def _describe_huffman(segment: Segment) -> str:
    tables = parse_huffman_tables(segment).items()
    return "; ".join(f"{kind} table {number}: {len(table.values)} codes" for (kind, number), table in tables)


_DESCRIPTIONS: dict[str, Callable[[Segment], str]] = {
    "SOI": lambda segment: "start of image",
    "DQT": _describe_quantisation,
    "DHT": _describe_huffman,
    "DRI": lambda segment: f"a restart marker after every {parse_restart_interval(segment)} MCUs",
    "SOS": _describe_scan,
    "scan data": _describe_scan_data,
    "COM": lambda segment: f"comment {segment.payload[:60].decode('ascii', 'replace')!r}",
    "EOI": lambda segment: "end of image",
    "fill bytes": lambda segment: "FF bytes before a marker, without meaning",
    "trailing bytes": lambda segment: "after the end of the image; decoders ignore them",
}
