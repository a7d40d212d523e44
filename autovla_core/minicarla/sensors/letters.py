"""Letters of five by seven dots for words in pictures. Small letters are drawn as capitals."""

from __future__ import annotations

import functools

import numpy as np

WIDTH, HEIGHT, ADVANCE = 5, 7, 6  # dots

# one hexadecimal pair a row, from the top; bit 4 is the leftmost dot
_ROWS = {
    "A": "0e11111f111111", "B": "1e11111e11111e", "C": "0e11101010110e", "D": "1c12111111121c", "E": "1f10101e10101f",
    "F": "1f10101e101010", "G": "0e11101711110f", "H": "1111111f111111", "I": "0e04040404040e", "J": "0702020202120c",
    "K": "11121418141211", "L": "1010101010101f", "M": "111b1515111111", "N": "11191513111111", "O": "0e11111111110e",
    "P": "1e11111e101010", "Q": "0e11111115120d", "R": "1e11111e141211", "S": "0f10100e01011e", "T": "1f040404040404",
    "U": "1111111111110e", "V": "11111111110a04", "W": "1111111515150a", "X": "11110a040a1111", "Y": "1111110a040404",
    "Z": "1f01020408101f", "0": "0e11131519110e", "1": "040c040404040e", "2": "0e11010204081f", "3": "1f02040201110e",
    "4": "02060a121f0202", "5": "1f101e0101110e", "6": "0608101e11110e", "7": "1f010204080808", "8": "0e11110e11110e",
    "9": "0e11110f01020c", " ": "00000000000000", ".": "00000000000c0c", ",": "000000000c0408", ":": "000c0c000c0c00",
    ";": "000c0c000c0408", "-": "0000001f000000", "_": "0000000000001f", "+": "0004041f040400", "=": "00001f001f0000",
    "*": "0004150e150400", "/": "00010204081000", "(": "02040808080402", ")": "08040202020408", "[": "0e08080808080e",
    "]": "0e02020202020e", "<": "02040810080402", ">": "08040201020408", "!": "04040404000004", "?": "0e110102040004",
    "'": "0c040800000000", '"': "0a0a0a00000000", "%": "18190204081303", "#": "0a0a1f0a1f0a0a", "|": "04040404040404",
}  # fmt: skip
_UNKNOWN = "1f11111111111f"


@functools.cache
def _dots(letter: str) -> tuple[tuple[int, int], ...]:
    rows = bytes.fromhex(_ROWS.get(letter, _UNKNOWN))
    return tuple((x, y) for y, row in enumerate(rows) for x in range(WIDTH) if row >> (WIDTH - 1 - x) & 1)


def dots_of(text: str) -> np.ndarray:
    """(n, 2) columns and rows of the dots of one line of words, from its upper left corner."""
    found = [(ADVANCE * i + x, y) for i, letter in enumerate(text.upper()) for x, y in _dots(letter)]
    return np.array(found, np.int64).reshape(-1, 2)
