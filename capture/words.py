"""Bytes taken eight at a time, for kernels that would otherwise look at each of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.jit import kernel


@kernel
def eight_bytes(data: NDArray[np.uint8], at: np.uint64) -> np.uint64:
    """data[at:at+8] as one number, the first byte lowest; written out, the compiler makes one load of it."""
    return (
        np.uint64(data[at])
        | np.uint64(data[at + np.uint64(1)]) << np.uint64(8)
        | np.uint64(data[at + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[at + np.uint64(3)]) << np.uint64(24)
        | np.uint64(data[at + np.uint64(4)]) << np.uint64(32)
        | np.uint64(data[at + np.uint64(5)]) << np.uint64(40)
        | np.uint64(data[at + np.uint64(6)]) << np.uint64(48)
        | np.uint64(data[at + np.uint64(7)]) << np.uint64(56)
    )


@kernel
def zeros(odd: np.uint64) -> np.uint64:
    """The top bit of the first byte of a number that is zero, from the lowest, and of nothing below it; 0 for none."""
    # The subtraction borrows from no byte before the first zero.
    return (odd - np.uint64(0x0101010101010101)) & ~odd & np.uint64(0x8080808080808080)


@kernel
def first_mark(marks: np.uint64) -> np.uint64:
    """Which byte of a number is the first, from the lowest, whose top bit `zeros` has set; 8 for none."""
    one, ones = np.uint64(1), np.uint64(0x0101010101010101)
    if not marks:
        return np.uint64(8)
    # Below that bit, and of its own byte, each byte has its lowest bit set: as many as the place, and one.
    below = (marks & (~marks + one)) - one
    return ((below & ones) * ones >> np.uint64(56)) - one


@kernel
def place_of(data: NDArray[np.uint8], at: int, end: int, byte: int) -> int:
    """Where `byte` first stands in data[at:end], or `end`. It looks at eight bytes at a time."""
    one, eight = np.uint64(1), np.uint64(8)
    wanted = np.uint64(0x0101010101010101) * np.uint64(byte)
    i, stop = np.uint64(at), np.uint64(end)
    while i + eight <= stop:
        step = first_mark(zeros(eight_bytes(data, i) ^ wanted))
        i += step
        if step < eight:
            return int(np.int64(i))
    while i < stop and data[i] != byte:
        i += one
    return int(np.int64(i))


@kernel
def place_of_two(data: NDArray[np.uint8], at: int, end: int, byte: int, other: int) -> int:
    """Where one of two bytes first stands in data[at:end], or `end`."""
    one, eight, ones = np.uint64(1), np.uint64(8), np.uint64(0x0101010101010101)
    wanted, too = ones * np.uint64(byte), ones * np.uint64(other)
    i, stop = np.uint64(at), np.uint64(end)
    while i + eight <= stop:
        eight_of = eight_bytes(data, i)
        step = first_mark(zeros(eight_of ^ wanted) | zeros(eight_of ^ too))
        i += step
        if step < eight:
            return int(np.int64(i))
    while i < stop and data[i] != byte and data[i] != other:
        i += one
    return int(np.int64(i))


@kernel
def newline(data: NDArray[np.uint8], at: int, end: int) -> int:
    """Where the first line feed of data[at:end] is, or `end`."""
    return place_of(data, at, end, 10)


@kernel
def hash_of(data: NDArray[np.uint8], at: np.uint64, stop: np.uint64) -> np.uint64:
    """A hash of data[at:stop]; good for tables, not against somebody who looks for equal ones."""
    one, eight, prime, turn = np.uint64(1), np.uint64(8), np.uint64(0x9E3779B97F4A7C15), np.uint64(32)
    out = stop - at
    if out >= np.uint64(64):
        # Four at once: each step of one waits for its own multiplication only.
        a, b, c, d = out, prime, out ^ prime, ~out
        far = np.uint64(32)
        while at + far <= stop:
            a = (a ^ eight_bytes(data, at)) * prime
            b = (b ^ eight_bytes(data, at + eight)) * prime
            c = (c ^ eight_bytes(data, at + np.uint64(16))) * prime
            d = (d ^ eight_bytes(data, at + np.uint64(24))) * prime
            a ^= a >> turn
            b ^= b >> turn
            c ^= c >> turn
            d ^= d >> turn
            at += far
        out = ((a * prime ^ b) * prime ^ c) * prime ^ d
        out ^= out >> turn
    while at + eight <= stop:
        out = (out ^ eight_bytes(data, at)) * prime
        out ^= out >> turn
        at += eight
    rest = np.uint64(0)
    while at < stop:
        rest = (rest << eight) | np.uint64(data[at])
        at += one
    out = (out ^ rest) * prime
    return out ^ (out >> turn)


@kernel
def few_bytes(data: NDArray[np.uint8], at: np.uint64, size: np.uint64) -> np.uint64:
    """data[at:at+size] as one number, the first byte lowest; at most seven."""
    one, eight = np.uint64(1), np.uint64(8)
    if at + eight <= np.uint64(len(data)):
        # What stands behind them is read, too, and put away: no step of this depends on how many there are.
        return eight_bytes(data, at) & ((one << (size * eight)) - one)
    out = np.uint64(0)
    while size:
        size -= one
        out = out << eight | np.uint64(data[at + size])
    return out


@kernel
def name_hash(data: NDArray[np.uint8], at: np.uint64, stop: np.uint64) -> np.uint64:
    """Like `hash_of`, for tables in memory: what is left of the last eight bytes is not taken one by one."""
    eight, prime, turn = np.uint64(8), np.uint64(0x9E3779B97F4A7C15), np.uint64(32)
    out = stop - at
    while at + eight <= stop:
        out = (out ^ eight_bytes(data, at)) * prime
        out ^= out >> turn
        at += eight
    out = (out ^ few_bytes(data, at, stop - at)) * prime
    return out ^ (out >> turn)


@kernel
def same_bytes(data: NDArray[np.uint8], a: np.uint64, b: np.uint64, size: np.uint64) -> bool:
    """Whether data[a:a+size] is data[b:b+size]."""
    eight = np.uint64(8)
    i = np.uint64(0)
    while i + eight <= size:
        if eight_bytes(data, a + i) != eight_bytes(data, b + i):
            return False
        i += eight
    return bool(few_bytes(data, a + i, size - i) == few_bytes(data, b + i, size - i))


@kernel
def copy_bytes(
    data: NDArray[np.uint8], at: np.uint64, out: NDArray[np.uint8], place: np.uint64, size: np.uint64
) -> None:
    """data[at:at+size] to out[place:]. Unsigned: with no sign to look at, the compiler makes one block copy of it."""
    one = np.uint64(1)
    i = np.uint64(0)
    while i < size:
        out[place + i] = data[at + i]
        i += one
