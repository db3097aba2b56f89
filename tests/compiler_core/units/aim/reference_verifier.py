"""The rules of legality once more, written plainly: sets of channels, columns and registers."""

from __future__ import annotations

from typing import Any

OPS = tuple(
    name
    for line in (
        "W_GPR R_GPR W_CFR W_MEM R_MEM WR_SBK RD_SBK WR_ABK WR_GB WR_BIAS RD_MAC RD_AF",
        "COPY_BKGB COPY_GBBK MAC_SBK MAC_ABK AF EWMUL EWADD SYNC EOC",
    )
    for name in line.split()
)
WITH_N = ("WR_GB", "COPY_BKGB", "COPY_GBBK", "MAC_SBK", "MAC_ABK", "EWMUL", "EWADD")
MASKED = tuple(
    name for name in OPS[5:19] if name != "EWADD"
)  # all but those of the host, SYNC and EOC
WITH_BANK = ("W_MEM", "R_MEM", "WR_SBK", "RD_SBK", "COPY_BKGB", "COPY_GBBK", "MAC_SBK")
WITH_ROW = (*WITH_BANK, "WR_ABK", "MAC_ABK", "EWMUL")
WITH_COL = (*WITH_ROW, "WR_GB")


def channels(mask: int) -> list[int]:
    return [i for i in range(32) if mask & (1 << (31 - i))]


class State:
    """What earlier instructions did."""

    def __init__(self) -> None:
        self.cfr = {0: 0, 1: 1, 2: 0}
        self.buffered: set[tuple[int, int]] = set()
        self.biased: set[int] = set()
        self.unread: set[int] = set()
        self.activated: set[int] = set()
        self.pending: set[int] = set()


def registers(name: str, i: dict[str, int]) -> set[int]:
    g = i["gpr"]
    if name in ("W_GPR", "R_GPR", "WR_SBK", "WR_ABK"):
        return {g}
    if name in ("WR_GB", "EWADD"):
        second = i["gpr2"] if name == "EWADD" else g
        return set(range(g, g + i["n"])) | set(range(second, second + i["n"]))
    if name in ("RD_SBK", "WR_BIAS", "RD_MAC", "RD_AF"):
        return set(range(g, g + len(channels(i["mask"]))))
    return set()


def operand_error(name: str, i: dict[str, int], s: State) -> str | None:
    n, col, bank = i["n"], i["col"], i["bank"]
    if name in MASKED and not 0 < i["mask"] < 2**32:
        return "mask"
    if name == "WR_ABK" and len(channels(i["mask"])) != 1:
        return "mask_single"
    if name in ("W_MEM", "R_MEM") and not 0 <= i["mask"] <= 31:
        return "channel"
    if name in WITH_COL and not 0 <= col <= 63:
        return "count"
    if name == "WR_ABK" and not 0 <= i["lane"] <= 15:
        return "count"
    if name in WITH_N and not 1 <= n <= 64:
        return "count"
    if name in WITH_N and name != "EWADD" and col + n > 64:
        return "count"
    if name in WITH_BANK and not 0 <= bank <= 15:
        return "bank"
    if name == "MAC_SBK" and s.cfr[0] == 1 and bank % 2 == 1:
        return "bank"
    if name in WITH_ROW and not 0 <= i["row"] <= 16383:
        return "row"
    if name == "W_CFR":
        bounds = {0: 1, 1: 1, 2: 7}
        return None if 0 <= i["value"] <= bounds.get(i["gpr"], -1) else "cfr"
    return None


def error_of(name: str, i: dict[str, int], s: State) -> str | None:
    """The class of an instruction's error; one without takes effect."""
    found = operand_error(name, i, s)
    if found:
        return found
    used = registers(name, i)
    if any(not 0 <= g <= 4095 for g in used):
        return "gpr"
    if name != "RD_SBK" and used & s.pending:
        return "gpr_pending"
    selected = set(channels(i["mask"])) if name in MASKED else set()
    columns = range(i["n"]) if name in WITH_N else ()
    wanted = {(c, i["col"] + k) for c in selected for k in columns}
    multiplies = name in ("MAC_ABK", "MAC_SBK")
    if (name == "COPY_GBBK" or (multiplies and s.cfr[0] == 0)) and wanted - s.buffered:
        return "gb_unwritten"
    if (multiplies or name in ("AF", "RD_MAC")) and selected - s.biased:
        return "acc_unwritten"
    if name == "WR_BIAS" and selected & s.unread:
        return "acc_lost"
    if name == "RD_AF" and selected - s.activated:
        return "af_unwritten"
    take(name, i, s, selected, wanted)
    return None


def take(
    name: str, i: dict[str, int], s: State, selected: set[int], wanted: set[tuple[int, int]]
) -> None:
    if name == "W_CFR":
        s.cfr[i["gpr"]] = i["value"]
    if name in ("WR_GB", "COPY_BKGB"):
        s.buffered |= wanted
    if name == "WR_BIAS":
        s.biased |= selected
    if name in ("MAC_ABK", "MAC_SBK"):
        s.unread |= selected
    if name in ("RD_MAC", "AF"):
        s.unread -= selected
    if name == "AF":
        s.activated |= selected
    if name == "RD_SBK":
        s.pending |= registers(name, i)
    if name == "SYNC":
        s.pending = set()


def first_error(records: Any) -> tuple[str, int] | None:
    """Class and index of the first error of a program; ``WIDE`` records."""
    state, ended = State(), False
    for index, record in enumerate(records):
        i = {field: int(record[field]) for field in records.dtype.names}
        if ended:
            return "eoc_not_last", index
        if not 0 <= i["op"] < len(OPS):
            return "syntax", index
        name = OPS[i["op"]]
        ended = name == "EOC"
        found = error_of(name, i, state)
        if found:
            return found, index
    return None if ended else ("no_eoc", len(records))
