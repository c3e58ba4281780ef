"""Tables of codes: contents, latency, a choice for each code, and the code itself where no table is chosen."""

from random import Random

import pytest

from rtl.memory import CodeTable

from ..axi_models import refusal, simulate


@pytest.mark.parametrize("tables", [1, 2, 3])
def test_codes(tables):
    dice, found, expected = Random(tables), [], []
    table, codes = CodeTable(tables=tables), [[dice.randrange(256) for _ in range(256)] for _ in range(tables)]

    async def drive(ctx):
        ctx.set(table.write.en, 1)
        for address in range(tables * 64):
            ctx.set(table.write.addr, address)
            ctx.set(table.write.data, int.from_bytes(bytes(sum(codes, [])[4 * address:4 * address + 4]), "little"))
            await ctx.tick()
        ctx.set(table.write.en, 0)
        asked = [(dice.randrange(tables + 1), dice.randrange(256)) for _ in range(400)]
        for choice, code in (*asked, *[(0, 0)] * (table.latency - 1)):
            ctx.set(table.choice, choice)
            ctx.set(table.code, code)
            await ctx.tick()
            found.append(ctx.get(table.out))
        del found[:table.latency - 1]
        expected.extend(codes[choice - 1][code] if choice else code for choice, code in asked)

    simulate({"table": table}, drive)
    assert found == expected


def test_no_table():
    assert refusal(CodeTable, tables=0) == "no CodeTable has tables 0: give 1 or more"
