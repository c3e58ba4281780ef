/* Driver of an Alloy engine: C99, no allocation, no operating system. docs/driver.md has a program that uses it.
 *
 * Nothing here is for two threads at once: one thread opens, loads, starts and waits; alloy_interrupt() alone may be
 * called from an interrupt handler.
 */
#ifndef ALLOY_H
#define ALLOY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    ALLOY_OK,
    ALLOY_BUSY,                 /* the engine works */
    ALLOY_LATE,                 /* the port's patience is at an end; the engine still works */
    ALLOY_NO_ENGINE,            /* what answers at these registers is no Alloy */
    ALLOY_ENGINE_VERSION,       /* the engine has another version of the tables than this driver */
    ALLOY_NO_PROGRAM,           /* these bytes are no whole program file */
    ALLOY_PROGRAM_VERSION,      /* the program is of another version of the tables than the engine */
    ALLOY_PROGRAM_DIGEST,       /* the program is for another configuration than the engine's */
    ALLOY_MEMORY_SMALL,         /* less memory than the program needs */
    ALLOY_MEMORY_ALIGNMENT,     /* its bus address is no multiple of 4096 */
    ALLOY_MEMORY_ADDRESS,       /* its bus address is beyond those of the engine */
    ALLOY_ARGUMENT,             /* there is no such bank, tensor or class */
    ALLOY_IMAGE,                /* a pixel has more bits than the network reads */
    ALLOY_IDLE,                 /* nothing was started */
    ALLOY_STOPPED,              /* the engine stopped with an error: alloy_engine.code and tag */
    ALLOY_HUNG                  /* the bus does not answer: engine and bus need a reset */
} alloy_status;

/* How the driver reaches one engine and its memory. */
typedef struct {
    void *context;              /* first argument of all functions */
    uint32_t (*read)(void *context, uint32_t offset);                   /* a register, byte offset */
    void (*write)(void *context, uint32_t offset, uint32_t value);
    /* Sleep until the interrupt comes, or a while. 0: look again, anything else: alloy_wait gives up. NULL: poll. */
    int (*wait)(void *context);
    /* Cache: write bytes that the processor has changed to memory; forget bytes that the engine may have changed. NULL
     * where the engine sees what the processor sees. */
    void (*clean)(void *context, void *at, size_t bytes);
    void (*invalidate)(void *context, void *at, size_t bytes);
} alloy_port;

/* Memory that processor and engine share, in one piece. */
typedef struct {
    uint8_t *at;                /* for the processor */
    uint64_t address;           /* for the engine: a multiple of 4096 */
    size_t bytes;
} alloy_memory;

/* A program file (program.bin), which stays where it is. */
typedef struct {
    const uint8_t *data;
    uint32_t version, digest;
    uint32_t window_bytes, window_bytes_2;      /* of memory: for one bank, and for two */
    uint32_t tensors;                           /* 0 is the input, 1 the network's output, then what else is kept */
    uint32_t classes;                           /* names of classes, or 0 */
    uint32_t image_channels, image_height, image_width;
} alloy_program;

#define ALLOY_HOLE 0xffffu

/* A tensor as it lies in memory; docs/program.md says how. */
typedef struct {
    const char *name;
    uint32_t offset[2];         /* in the window, of each bank */
    uint64_t row_bytes;
    uint32_t bytes, channels, height, width, groups, group_bytes, group_channels, bits, zero;
    double scale;               /* a code q stands for scale * (q - zero); 0: not known */
    const uint8_t *order;       /* channel of each position, 16 bits each; ALLOY_HOLE: none */
    uint32_t positions;
} alloy_tensor;

/* A program in memory, ready to run. */
typedef struct {
    const alloy_port *port;
    const alloy_program *program;
    alloy_memory memory;
    unsigned banks;             /* 2 if there is memory for two images at once */
} alloy_loaded;

typedef struct {
    const alloy_port *port;
    uint32_t digest;            /* of the engine's configuration */
    const alloy_loaded *running;
    unsigned bank;              /* that was started last */
    unsigned code, tag;         /* of the last stop with an error: ALLOY_ERROR_..., layer */
} alloy_engine;

typedef struct {
    uint64_t cycles;
    uint32_t commands, array_cycles, load_cycles, store_cycles, post_cycles;
} alloy_counters;

/* Find the engine behind a port, which must outlive it. Stops what may be running. */
alloy_status alloy_open(alloy_engine *engine, const alloy_port *port);

/* Read a program file, all of which is checked, against itself alone. */
alloy_status alloy_parse(alloy_program *program, const void *file, size_t bytes);

/* Copy a program into memory, once. Program and loaded must outlive its runs; several may be loaded at a time. */
alloy_status alloy_load(const alloy_engine *engine, alloy_loaded *loaded, const alloy_program *program,
                        const alloy_memory *memory);

/* Copy an image into a bank that is not running: pixel (row, column) has its channels, one byte each, at
 * pixels + row * row_bytes + column * pixel_bytes. */
alloy_status alloy_put_image(const alloy_engine *engine, const alloy_loaded *loaded, unsigned bank,
                             const uint8_t *pixels, size_t row_bytes, size_t pixel_bytes);

/* Where the engine reads the image of a bank, for a camera or a decoder that writes it there itself: rows of row_bytes
 * (alloy_describe of tensor 0), pixels of group_bytes. What the processor writes there it cleans from its caches. */
alloy_status alloy_image(const alloy_loaded *loaded, unsigned bank, uint8_t **at);

/* Start a bank. The caches are seen to. */
alloy_status alloy_start(alloy_engine *engine, const alloy_loaded *loaded, unsigned bank);

/* ALLOY_BUSY, or how the run ended. */
alloy_status alloy_poll(alloy_engine *engine);

/* Wait for the end, with the port's wait() or by polling: never ALLOY_BUSY. */
alloy_status alloy_wait(alloy_engine *engine);

/* Stop the run; alloy_wait() then says ALLOY_STOPPED with ALLOY_ERROR_ABORT, unless it had ended before. */
void alloy_abort(const alloy_engine *engine);

/* For the interrupt handler: takes the interrupt back; nonzero if it was the engine's. */
uint32_t alloy_interrupt(const alloy_engine *engine);

/* Cycles without progress after which the engine stops, from the next start on; 0: never. */
void alloy_watchdog(const alloy_engine *engine, uint32_t cycles);

/* Of the last run. */
alloy_counters alloy_count(const alloy_engine *engine);

/* Tensor 0 to tensors - 1. */
alloy_status alloy_describe(const alloy_program *program, uint32_t index, alloy_tensor *tensor);

/* Codes of a tensor after a run, (height, width, channels) in the network's order of channels, at codes; and the number
 * of the largest, the class of a classifier. */
alloy_status alloy_get_codes(const alloy_loaded *loaded, unsigned bank, uint32_t index, uint8_t *codes);
alloy_status alloy_classify(const alloy_loaded *loaded, unsigned bank, uint32_t *number);

/* Name of a class, NULL if there is none. */
const char *alloy_class(const alloy_program *program, uint32_t number);

/* What a code stands for; 0 if the scale is not known. */
double alloy_value(const alloy_tensor *tensor, unsigned code);

/* Sentences. */
const char *alloy_text(alloy_status status);
const char *alloy_code_text(unsigned code);

#ifdef __cplusplus
}
#endif

#endif
