"""Tables of codes: contents, latency, and the code itself where no table is chosen."""

from random import Random

import pytest

from rtl.memory import CodeTable
from spec.commands import TABLE_RECORDS

from ..axi_models import refusal, simulate


@pytest.mark.parametrize("tables", [1, 2, 3])
def test_codes(tables):
    dice, found, expected = Random(tables), [], []
    table, codes = CodeTable(tables=tables), [[dice.randrange(256) for _ in range(256)] for _ in range(tables)]

    async def drive(ctx):
        ctx.set(table.write.en, 1)
        for address in range(tables * TABLE_RECORDS):
            ctx.set(table.write.addr, address)
            ctx.set(table.write.data, int.from_bytes(bytes(sum(codes, [])[16 * address:16 * address + 16]), "little"))
            await ctx.tick()
        ctx.set(table.write.en, 0)
        for choice in range(tables + 1):
            ctx.set(table.choice, choice)
            asked = [dice.randrange(256) for _ in range(100)]
            for code in (*asked, *[0] * (table.latency - 1)):
                ctx.set(table.code, code)
                await ctx.tick()
                found.append(ctx.get(table.out))
            del found[-len(asked) - table.latency + 1:-len(asked)]
            expected.extend(codes[choice - 1][code] if choice else code for code in asked)

    simulate({"table": table}, drive)
    assert found == expected


def test_no_table():
    assert refusal(CodeTable, tables=0) == "no CodeTable has tables 0: give 1 or more"
