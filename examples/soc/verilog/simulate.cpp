// Clocks a system and shows what its UART sends, until that is END or FAILED or the cycles are at an end.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include "Vsoc.h"
#include "verilated.h"

static const unsigned DIVISOR = 8;      // cycles of a bit
static const int END = 0x04, FAILED = 0x15;

// The receiving half of a UART.
struct Receiver {
    unsigned wait = 0, bits = 0, left = 0;
    int sample(bool level) {            // a character, or -1
        if (!left && !level) {
            left = 10;
            wait = DIVISOR / 2;
        }
        if (!left || wait--) return -1;
        wait = DIVISOR - 1;
        bits = bits >> 1 | (unsigned)level << 9;
        return --left ? -1 : (int)(bits >> 1 & 255);
    }
};

int main(int argc, char **argv) {
    uint64_t limit = argc > 1 ? strtoull(argv[1], nullptr, 10) : 100000000;
    Vsoc soc;
    Receiver uart;
    for (uint64_t cycle = 0; cycle < limit; cycle++) {
        soc.reset = cycle < 8;
        soc.clk = 0;
        soc.eval();
        soc.clk = 1;
        soc.eval();
        int c = cycle < 8 ? -1 : uart.sample(soc.serial_tx);
        if (c == END || c == FAILED) {
            fprintf(stderr, "%llu cycles\n", (unsigned long long)cycle);
            return c == FAILED;
        }
        if (c >= 0) putchar(c);
        if (c == '\n') fflush(stdout);
    }
    fprintf(stderr, "the software has not ended within %llu cycles\n", (unsigned long long)limit);
    return 1;
}
