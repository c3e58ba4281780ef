/* Classifies images on the engine and says over the UART what it found. ENGINE, UART and ENGINE_IRQ come from the
 * command line of the compiler. The last character is END if all went well, FAILED if not. */
#include <stddef.h>
#include <stdint.h>

#include "alloy.h"
#include "ports/bare_metal.h"

enum { END = 0x04, FAILED = 0x15, EXTERNAL = 1 << 11, PATIENCE = 100000, CODES = 1024 };

extern const uint8_t program_file[], program_file_end[], images[], images_end[];
extern uint8_t _shared[], _shared_end[];

static alloy_engine engine;
static alloy_program program;
static alloy_loaded network;
static unsigned interrupts;

static void put_char(char c)
{
    volatile uint32_t *uart = (volatile uint32_t *)UART;
    while (uart[1]) {}          /* no place for another character */
    uart[0] = (uint8_t)c;
}

static void put(const char *text)
{
    while (*text)
        put_char(*text++);
}

static void put_number(uint32_t number)
{
    if (number >= 10)
        put_number(number / 10);
    put_char((char)('0' + number % 10));
}

static void put_hex(uint32_t number)
{
    for (int shift = 28; shift >= 0; shift -= 4)
        put_char("0123456789abcdef"[number >> shift & 15]);
}

/* Until the engine's interrupt, which is taken back. Interrupts stay off: nothing has to be saved. */
static int wait_for_interrupt(void *registers)
{
    (void)registers;
    for (uint32_t i = 0; i < PATIENCE; i++) {
        uint32_t pending;
        __asm__ volatile("wfi; csrr %0, mip" : "=r"(pending));
        if (pending & EXTERNAL) {
            interrupts += alloy_interrupt(&engine) != 0;
            return 0;
        }
    }
    return -1;
}

/* The data cache of VexRiscv writes through, so nothing is to be cleaned; this instruction of its own empties it. */
static void invalidate(void *registers, void *at, size_t bytes)
{
    (void)registers, (void)at, (void)bytes;
    __asm__ volatile(".word 0x500f" ::: "memory");
}

static alloy_status open_network(const alloy_port *port)
{
    alloy_memory memory = {_shared, (uintptr_t)_shared, (size_t)(_shared_end - _shared)};
    alloy_status status = alloy_open(&engine, port);
    if (status == ALLOY_OK)
        status = alloy_parse(&program, program_file, (size_t)(program_file_end - program_file));
    if (status == ALLOY_OK)
        status = alloy_load(&engine, &network, &program, &memory);
    return status;
}

static alloy_status put_image(uint32_t number)
{
    size_t row = (size_t)program.image_width * program.image_channels;
    return alloy_put_image(&engine, &network, 0, images + number * row * program.image_height, row,
                           program.image_channels);
}

static alloy_status show(uint32_t number)
{
    static uint8_t codes[CODES];
    alloy_tensor output;
    uint32_t best;
    alloy_status status = alloy_classify(&network, 0, &best);
    if (status == ALLOY_OK)
        status = alloy_describe(&program, 1, &output);
    if (status == ALLOY_OK && output.channels > CODES)
        status = ALLOY_ARGUMENT;
    if (status == ALLOY_OK)
        status = alloy_get_codes(&network, 0, 1, codes);
    if (status != ALLOY_OK)
        return status;
    put("image "), put_number(number), put(": class "), put_number(best);
    if (alloy_class(&program, best) != NULL)
        put(" ("), put(alloy_class(&program, best)), put(")");
    put(", "), put_number((uint32_t)alloy_count(&engine).cycles), put(" cycles, codes");
    for (uint32_t c = 0; c < output.channels; c++)
        put_char(' '), put_number(codes[c]);
    put("\n");
    return status;
}

static alloy_status classify_all(void)
{
    size_t image_bytes = (size_t)program.image_width * program.image_channels * program.image_height;
    uint32_t count = (uint32_t)((size_t)(images_end - images) / image_bytes);
    for (uint32_t n = 0; n < count; n++) {
        alloy_status status = put_image(n);
        if (status == ALLOY_OK)
            status = alloy_start(&engine, &network, 0);
        if (status == ALLOY_OK)
            status = alloy_wait(&engine);
        if (status == ALLOY_OK)
            status = show(n);
        if (status != ALLOY_OK)
            return status;
    }
    put("images "), put_number(count), put(", interrupts "), put_number(interrupts), put("\n");
    return ALLOY_OK;
}

void trapped(uint32_t cause, uint32_t at)
{
    put("trap "), put_number(cause), put(" at "), put_hex(at), put("\n");
    put_char(FAILED);
}

int main(void)
{
    alloy_port port;
    alloy_status status;
    alloy_bare_metal(&port, ENGINE);
    port.wait = wait_for_interrupt;
    port.invalidate = invalidate;
    /* VexRiscv's own mask of external interrupts. */
    __asm__ volatile("csrw 0xbc0, %0" :: "r"(1u << ENGINE_IRQ));
    status = open_network(&port);
    put("engine "), put_hex(engine.digest), put(", program "), put_hex(program.digest), put("\n");
    if (status == ALLOY_OK)
        status = classify_all();
    if (status == ALLOY_STOPPED)
        put("layer "), put_number(engine.tag), put(": "), put(alloy_code_text(engine.code)), put("\n");
    else if (status != ALLOY_OK)
        put(alloy_text(status)), put("\n");
    put_char(status == ALLOY_OK ? END : FAILED);
    return 0;
}
