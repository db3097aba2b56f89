"""Bytes of a file changed without knowing what they mean."""

from __future__ import annotations

import random

_INTERESTING = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f", b"-1")


def mutate_bytes(random_: random.Random, content: bytes, other: bytes) -> bytes:
    """One to four changes: flip, cut, splice with ``other``, insert, overwrite, repeat."""
    data = bytearray(content)
    for _ in range(random_.randint(1, 4)):
        if not data:
            return bytes(other[: random_.randint(0, len(other))])
        at = random_.randrange(len(data))
        match random_.randrange(7):
            case 0:
                data[at] ^= 1 << random_.randrange(8)
            case 1:
                del data[at:]
            case 2:
                del data[at : at + random_.randint(1, 64)]
            case 3:
                data[at:] = other[random_.randint(0, len(other)) :]
            case 4:
                data[at:at] = random_.randbytes(random_.randint(1, 16))
            case 5:
                word = random_.choice(_INTERESTING)
                data[at : at + len(word)] = word
            case 6:
                piece = bytes(data[at : at + random_.randint(1, 256)])
                data[at:at] = piece * random_.randint(1, 20)
    return bytes(data)
