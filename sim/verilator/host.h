/* What a processor beside the Verilated engine sees: registers, memory, the interrupt. For C and C++. */
#ifndef HOST_H
#define HOST_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HOST_NEVER = -1, HOST_WRITES = 255 };          /* a beat that does not come; a channel, beside those of reads */
enum { HOST_SILENT, HOST_CLOSED, HOST_SLVERR, HOST_DECERR };

/* Build the engine and reset it. memory: bytes of it are at bus address base; stall: probability that a channel pauses in
 * a cycle, drawn with seed; latency: cycles of an answer. */
void host_open(uint8_t *memory, uint64_t base, size_t bytes, unsigned seed, double stall, unsigned latency);
void host_close(void);
void host_reset(void);
uint32_t host_read(uint32_t offset);
void host_write(uint32_t offset, uint32_t value);
void host_wait(uint64_t cycles);            /* until the interrupt, or so many cycles */
int host_irq(void);
/* What goes wrong on a channel (read port, or HOST_WRITES) at a beat that is counted from the reset: no answers or nothing
 * taken from then on, or the response to it; and whether the memory answers at all from now on. */
void host_fault(unsigned channel, int64_t beat, unsigned kind);
void host_dead(int dead);
uint64_t host_beats(unsigned channel);      /* since the reset */
uint64_t host_now(void);                    /* cycles */
const char *host_violation(void);           /* first breach of the bus protocol, an access outside the window of the
                                             * program among them; empty if there was none */

#ifdef __cplusplus
}
#endif
#endif
