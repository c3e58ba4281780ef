// The other end of the wires of a system: bytes of standard input onto rx, those of tx to standard output, at CYCLES cycles
// for a bit, until the input ends.
#include "Vsystem.h"
#include <cstdio>
#include <poll.h>
#include <unistd.h>
double sc_time_stamp() { return 0; }

static Vsystem t;
static unsigned out = 0, out_left = 0, in = 0, in_left = 0, out_timer = 0, in_timer = 0;

static void tick() {
    if (out_left && out_timer-- == 0) {
        out >>= 1;
        out_timer = CYCLES - 1;
        out_left--;
    }
    t.rx = out_left ? out & 1 : 1;
    t.clk = 0; t.eval(); t.clk = 1; t.eval();
    if (!in_left) {
        if (!t.tx) { in_left = 9; in_timer = CYCLES + CYCLES / 2 - 1; in = 0; }
    } else if (in_timer-- == 0) {
        in_timer = CYCLES - 1;
        if (--in_left) in |= (unsigned)t.tx << (8 - in_left);
        else { std::putchar((int)in); std::fflush(stdout); }
    }
}

int main() {
    pollfd input = {0, POLLIN, 0};
    t.rst = 1; t.rx = 1;
    for (int n = 0; n < 4; n++) tick();
    t.rst = 0;
    for (;;) {
        if (!out_left && poll(&input, 1, 0) > 0) {
            unsigned char byte;
            if (read(0, &byte, 1) != 1) return 0;
            out = (0x100u | byte) << 1;
            out_left = 10;
            out_timer = CYCLES - 1;
        }
        for (int n = 0; n < (out_left ? 1 : 50); n++) tick();
    }
}
