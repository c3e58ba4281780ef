/* The driver against the Verilated engine. Between processor and memory is a cache that writes back late and holds what it
 * has: without clean and invalidate in the right places nothing is right. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloy.h"
#include "alloy_regs.h"
#include "host.h"

#include "words.h"

enum { LINE = 64, MEMORY = 1 << 22, HALF = MEMORY / 2, IMAGES = 5 };
static const uint64_t BASE = 0x40000000u;

static uint8_t memory[MEMORY], cached[MEMORY], synced[MEMORY];      /* of the engine, of the processor, as last agreed */

static void fail(int line, const char *what)
{
    printf("line %d: %s\n", line, what);
    exit(1);
}

#define CHECK(what) do { if (!(what)) fail(__LINE__, #what); } while (0)

static void sync_lines(void *context, void *at, size_t bytes, int back)
{
    size_t first = (size_t)((uint8_t *)at - cached), end = (first + bytes + LINE - 1) / LINE * LINE;
    (void)context;
    first -= first % LINE;
    CHECK(end <= MEMORY);
    if (back)
        memcpy(memory + first, cached + first, end - first);
    else
        memcpy(cached + first, memory + first, end - first);
    memcpy(synced + first, cached + first, end - first);
}

static void clean(void *context, void *at, size_t bytes) { sync_lines(context, at, bytes, 1); }
static void invalidate(void *context, void *at, size_t bytes) { sync_lines(context, at, bytes, 0); }

/* What the processor has changed may reach memory at any time. */
static void evict(void)
{
    for (size_t at = 0; at < MEMORY; at += LINE)
        if (memcmp(cached + at, synced + at, LINE) != 0)
            clean(NULL, cached + at, LINE);
}

static uint32_t wrong_register = ~0u;       /* one that answers something else */
static unsigned interrupts, patience = ~0u;
static alloy_engine engine;

static uint32_t read_register(void *context, uint32_t offset)
{
    (void)context;
    return offset == wrong_register ? 0xdeadbeefu : host_read(offset);
}

static void write_register(void *context, uint32_t offset, uint32_t value)
{
    (void)context;
    host_write(offset, value);
}

/* Sleep until the interrupt, whose handler runs. */
static int sleep_until(void *context)
{
    (void)context;
    if (patience == 0)
        return 1;
    patience--;
    host_wait(5000);
    if (host_irq()) {
        interrupts++;
        CHECK(alloy_interrupt(&engine) != 0 && alloy_interrupt(&engine) == 0);
        evict();
    }
    return 0;
}

static const alloy_port polling = {NULL, read_register, write_register, NULL, clean, invalidate};
static const alloy_port sleeping = {NULL, read_register, write_register, sleep_until, clean, invalidate};

static uint8_t *load_file(const char *folder, unsigned number, const char *suffix, size_t *bytes)
{
    char path[4096];
    FILE *file;
    uint8_t *data;
    snprintf(path, sizeof path, "%s/p%u.%s", folder, number, suffix);
    file = fopen(path, "rb");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    *bytes = (size_t)ftell(file);
    rewind(file);
    data = malloc(*bytes + 1);
    CHECK(data != NULL && fread(data, 1, *bytes, file) == *bytes);
    fclose(file);
    return data;
}

typedef struct {
    uint8_t *file;
    size_t bytes;
    const uint8_t *images, *packed, *expected;      /* IMAGES of each, one behind the other */
    alloy_program program;
    alloy_loaded loaded;
} job;

static job jobs[2];

static void prepare(const char *folder, unsigned number)
{
    job *j = &jobs[number];
    size_t ignored;
    j->file = load_file(folder, number, "bin", &j->bytes);
    j->images = load_file(folder, number, "images", &ignored);
    j->packed = load_file(folder, number, "packed", &ignored);
    j->expected = load_file(folder, number, "expected", &ignored);
    CHECK(alloy_parse(&j->program, j->file, j->bytes) == ALLOY_OK);
}

static alloy_memory half(unsigned number)
{
    alloy_memory m = {cached + number * HALF, BASE + number * HALF, HALF};
    return m;
}

static void load(unsigned number)
{
    alloy_memory m = half(number);
    CHECK(alloy_load(&engine, &jobs[number].loaded, &jobs[number].program, &m) == ALLOY_OK);
    CHECK(jobs[number].loaded.banks == 2);
}

static void put(const job *j, unsigned bank, unsigned image)
{
    const alloy_program *p = &j->program;
    size_t line = (size_t)p->image_width * p->image_channels;
    alloy_tensor t;
    CHECK(alloy_put_image(&engine, &j->loaded, bank, j->images + image * line * p->image_height, line,
                          p->image_channels) == ALLOY_OK);
    alloy_describe(p, 0, &t);
    CHECK(memcmp(j->loaded.memory.at + t.offset[bank], j->packed + image * (size_t)t.bytes, t.bytes) == 0);
}

/* Every output of a bank is that of an image. */
static void compare(const job *j, unsigned bank, unsigned image)
{
    static uint8_t codes[MEMORY];
    const uint8_t *expected = j->expected;
    size_t all = 0, at = 0;
    alloy_tensor t;
    for (uint32_t i = 1; i < j->program.tensors; i++) {
        CHECK(alloy_describe(&j->program, i, &t) == ALLOY_OK);
        all += (size_t)t.channels * t.height * t.width;
    }
    for (uint32_t i = 1; i < j->program.tensors; i++) {
        CHECK(alloy_describe(&j->program, i, &t) == ALLOY_OK);
        CHECK(alloy_get_codes(&j->loaded, bank, i, codes) == ALLOY_OK);
        CHECK(memcmp(codes, expected + image * all + at, (size_t)t.channels * t.height * t.width) == 0);
        at += (size_t)t.channels * t.height * t.width;
    }
    alloy_describe(&j->program, 1, &t);
    if (t.height == 1 && t.width == 1) {
        uint32_t best = 0, number = ~0u;
        for (uint32_t c = 0; c < t.channels; c++)
            best = expected[image * all + c] > expected[image * all + best] ? c : best;
        CHECK(alloy_classify(&j->loaded, bank, &number) == ALLOY_OK && number == best);
        CHECK(alloy_class(&j->program, number)[0] == 'c' && atoi(alloy_class(&j->program, number) + 1) == (int)best);
        CHECK(alloy_class(&j->program, t.channels) == NULL);
        CHECK(alloy_value(&t, 7) == 0.25 * (7 - (double)t.zero));
    }
}

static void run(const job *j, unsigned bank, unsigned image)
{
    put(j, bank, image);
    CHECK(alloy_start(&engine, &j->loaded, bank) == ALLOY_OK);
    CHECK(alloy_wait(&engine) == ALLOY_OK);
    compare(j, bank, image);
}

static void by_polling(void)
{
    alloy_counters c;
    load(0);
    for (unsigned i = 0; i < IMAGES; i++)
        run(&jobs[0], i & 1, i);
    c = alloy_count(&engine);
    CHECK(c.cycles > 100 && c.commands > 3 && c.array_cycles > 0 && c.array_cycles < c.cycles && c.load_cycles > 0);
    CHECK(c.store_cycles > 0 && c.post_cycles > 0 && interrupts == 0 && !host_irq());
    CHECK(alloy_poll(&engine) == ALLOY_IDLE && alloy_wait(&engine) == ALLOY_IDLE);
    CHECK(alloy_open(&engine, &sleeping) == ALLOY_OK);
    run(&jobs[0], 0, 1);
    CHECK(interrupts == 1);     /* not that of an earlier run */
}

/* A camera writes images where the engine reads them. */
static void in_place(void)
{
    const job *j = &jobs[0];
    uint8_t *at;
    alloy_tensor t;
    load(0);
    CHECK(alloy_describe(&j->program, 0, &t) == ALLOY_OK && t.row_bytes * t.height == t.bytes);
    CHECK(alloy_image(&j->loaded, 2, &at) == ALLOY_ARGUMENT);
    for (unsigned bank = 0; bank < 2; bank++) {
        CHECK(alloy_image(&j->loaded, bank, &at) == ALLOY_OK && at == j->loaded.memory.at + t.offset[bank]);
        memcpy(memory + (at - cached), j->images + (bank + 2) * (size_t)t.bytes, t.bytes);
        CHECK(alloy_start(&engine, &j->loaded, bank) == ALLOY_OK && alloy_wait(&engine) == ALLOY_OK);
        compare(j, bank, bank + 2);
    }
}

/* The next image is prepared, and the last one's results are read, while the engine works. */
static void by_interrupt(void)
{
    const job *j = &jobs[0];
    load(0);
    put(j, 0, 0);
    CHECK(alloy_start(&engine, &j->loaded, 0) == ALLOY_OK);
    for (unsigned i = 0; i < IMAGES; i++) {
        unsigned bank = i & 1;
        if (i + 1 < IMAGES)
            put(j, !bank, i + 1);
        CHECK(alloy_wait(&engine) == ALLOY_OK);
        if (i + 1 < IMAGES)
            CHECK(alloy_start(&engine, &j->loaded, !bank) == ALLOY_OK);
        compare(j, bank, i);
    }
    CHECK(interrupts == IMAGES);
}

/* What the processor has written where the outputs will be does not overwrite them later. */
static void late_lines(void)
{
    const job *j = &jobs[0];
    alloy_tensor t;
    load(0);
    alloy_describe(&j->program, 1, &t);
    put(j, 0, 0);
    memset(j->loaded.memory.at + t.offset[0], 0x55, t.bytes);
    CHECK(alloy_start(&engine, &j->loaded, 0) == ALLOY_OK && alloy_wait(&engine) == ALLOY_OK);
    compare(j, 0, 0);
}

static void in_turn(void)
{
    load(0);
    load(1);
    for (unsigned i = 0; i < IMAGES; i++)
        for (unsigned n = 0; n < 2; n++)
            run(&jobs[n], (i + n) & 1, i);
}

/* Rows with a gap, 4 bytes a pixel; and memory for one image at a time. */
static void other_layouts(void)
{
    const alloy_program *p = &jobs[0].program;
    size_t line = (size_t)p->image_width * 5 + 13;
    uint8_t *wide = malloc(line * p->image_height);
    alloy_memory m = half(0);
    m.bytes = p->window_bytes;
    CHECK(wide != NULL && alloy_load(&engine, &jobs[0].loaded, p, &m) == ALLOY_OK && jobs[0].loaded.banks == 1);
    for (unsigned i = 0; i < IMAGES; i++) {
        const uint8_t *pixel = jobs[0].images + (size_t)i * p->image_height * p->image_width * p->image_channels;
        memset(wide, 0xA5, line * p->image_height);
        for (size_t y = 0; y < p->image_height; y++)
            for (size_t x = 0; x < p->image_width; x++, pixel += p->image_channels)
                memcpy(wide + y * line + x * 5, pixel, p->image_channels);
        CHECK(alloy_put_image(&engine, &jobs[0].loaded, 0, wide, line, 5) == ALLOY_OK);
        CHECK(alloy_start(&engine, &jobs[0].loaded, 0) == ALLOY_OK && alloy_wait(&engine) == ALLOY_OK);
        compare(&jobs[0], 0, i);
    }
    CHECK(alloy_put_image(&engine, &jobs[0].loaded, 1, wide, line, 5) == ALLOY_ARGUMENT);
    CHECK(alloy_start(&engine, &jobs[0].loaded, 1) == ALLOY_ARGUMENT);
    free(wide);
}

/* A program of another version or configuration, which is whole. */
static alloy_status other_program(uint32_t header, uint32_t start)
{
    job *j = &jobs[0];
    alloy_program p;
    alloy_loaded loaded;
    alloy_memory m = half(0);
    uint8_t *data = malloc(j->bytes);
    alloy_status found;
    CHECK(data != NULL);
    memcpy(data, j->file, j->bytes);
    store(data + header, word(data + header) + 1);
    store(data + 20, crc(data + 24, j->bytes - 24));
    CHECK(alloy_parse(&p, data, j->bytes) == ALLOY_NO_PROGRAM);       /* it says one thing and its START another */
    store(data + word(data + 40) + start, word(data + header));
    store(data + 20, crc(data + 24, j->bytes - 24));
    CHECK(alloy_parse(&p, data, j->bytes) == ALLOY_OK);
    found = alloy_load(&engine, &loaded, &p, &m);
    free(data);
    return found;
}

static void refusals(void)
{
    job *j = &jobs[0];
    alloy_program p;
    alloy_loaded loaded;
    alloy_memory m = half(0);
    alloy_tensor t;
    uint8_t flipped;
    const uint8_t *pixels = jobs[1].images;
    static const uint8_t too_large[4096] = {0, 0, 0x10};
    wrong_register = ALLOY_ID;
    CHECK(alloy_open(&engine, &sleeping) == ALLOY_NO_ENGINE);
    wrong_register = ALLOY_VERSION;
    CHECK(alloy_open(&engine, &sleeping) == ALLOY_ENGINE_VERSION);
    wrong_register = ~0u;
    CHECK(alloy_open(&engine, &sleeping) == ALLOY_OK && engine.digest == j->program.digest);
    for (size_t bytes = 0; bytes < j->bytes; bytes += 1 + j->bytes / 997)
        CHECK(alloy_parse(&p, j->file, bytes) == ALLOY_NO_PROGRAM);
    for (size_t at = 0; at < j->bytes; at += 1 + j->bytes / 997) {
        flipped = j->file[at];
        j->file[at] ^= (uint8_t)(1u << at % 8);
        CHECK(alloy_parse(&p, j->file, j->bytes) == ALLOY_NO_PROGRAM);
        CHECK(alloy_load(&engine, &loaded, &p, &m) == ALLOY_NO_PROGRAM);
        j->file[at] = flipped;
    }
    CHECK(alloy_parse(&p, NULL, j->bytes) == ALLOY_NO_PROGRAM);
    CHECK(other_program(24, ALLOY_START_VERSION) == ALLOY_PROGRAM_VERSION);
    CHECK(other_program(28, ALLOY_START_DIGEST) == ALLOY_PROGRAM_DIGEST);
    m.bytes = j->program.window_bytes - 1;
    CHECK(alloy_load(&engine, &loaded, &j->program, &m) == ALLOY_MEMORY_SMALL);
    m = half(0);
    m.address += 64;
    CHECK(alloy_load(&engine, &loaded, &j->program, &m) == ALLOY_MEMORY_ALIGNMENT);
    m = half(0);
    m.address += (uint64_t)1 << 44;
    CHECK(alloy_load(&engine, &loaded, &j->program, &m) == ALLOY_OK);
    CHECK(alloy_start(&engine, &loaded, 0) == ALLOY_MEMORY_ADDRESS);
    load(0);
    load(1);
    CHECK(alloy_describe(&j->program, j->program.tensors, &t) == ALLOY_ARGUMENT);
    CHECK(alloy_get_codes(&j->loaded, 0, j->program.tensors, NULL) == ALLOY_ARGUMENT);
    CHECK(alloy_get_codes(&j->loaded, 2, 1, NULL) == ALLOY_ARGUMENT);
    CHECK(alloy_put_image(&engine, &j->loaded, 2, pixels, 0, 0) == ALLOY_ARGUMENT);
    CHECK(alloy_describe(&jobs[1].program, 0, &t) == ALLOY_OK && t.bits == 4);
    pixels = (const uint8_t *)"\x10\x10\x10\x10";
    CHECK(alloy_put_image(&engine, &jobs[1].loaded, 0, pixels, 0, 0) == ALLOY_IMAGE);
    CHECK(alloy_put_image(&engine, &jobs[1].loaded, 0, too_large, t.width, 1) == ALLOY_IMAGE);     /* laid out as read */
    CHECK(alloy_poll(&engine) == ALLOY_IDLE);
    run(j, 0, 0);
}

/* Something is wrong in memory or on the bus: the engine stops with a code, and the next run is right. */
static void stopped(unsigned code, int corrupt, uint8_t value)
{
    job *j = &jobs[0];
    uint8_t *at = cached + corrupt, kept = *at;
    put(j, 0, 1);
    if (corrupt >= 0) {
        *at = value;
        clean(NULL, at, 1);
    }
    CHECK(alloy_start(&engine, &j->loaded, 0) == ALLOY_OK && alloy_wait(&engine) == ALLOY_STOPPED);
    if (engine.code != code)
        printf("code %u, not %u\n", engine.code, code);
    CHECK(engine.code == code && strlen(alloy_code_text(code)) > 8);
    if (corrupt >= 0) {
        *at = kept;
        clean(NULL, at, 1);
    }
    host_fault(0, HOST_NEVER, HOST_SLVERR);
    host_fault(HOST_WRITES, HOST_NEVER, HOST_SLVERR);
    CHECK(alloy_poll(&engine) == ALLOY_STOPPED);      /* it still says so */
    run(j, 1, 2);
}

static void errors(void)
{
    job *j = &jobs[0];
    uint32_t count = word(j->file + 48);
    uint64_t whole;
    load(0);
    stopped(ALLOY_ERROR_OPCODE, 128 + 7, 0);                            /* no magic byte in the second command */
    stopped(ALLOY_ERROR_PROGRAM, ALLOY_START_DIGEST, (uint8_t)(cached[ALLOY_START_DIGEST] ^ 1));
    stopped(ALLOY_ERROR_SEMAPHORE, (int)(count - 1) * 128 + 1, 0x80);   /* END waits for what nothing gives */
    stopped(ALLOY_ERROR_WINDOW, 128 + 8 + 3, 0xff);                     /* a load from beyond the window */
    host_fault(0, (int64_t)host_beats(0) + 40, HOST_SLVERR);
    stopped(ALLOY_ERROR_READ, -1, 0);
    host_fault(HOST_WRITES, (int64_t)host_beats(HOST_WRITES) + 1, HOST_SLVERR);
    stopped(ALLOY_ERROR_WRITE, -1, 0);
    put(j, 0, 3);
    CHECK(alloy_start(&engine, &j->loaded, 0) == ALLOY_OK && alloy_poll(&engine) == ALLOY_BUSY);
    CHECK(alloy_start(&engine, &j->loaded, 1) == ALLOY_BUSY && alloy_put_image(&engine, &j->loaded, 0, j->images, 0, 0)
          == ALLOY_BUSY);
    patience = 0;
    CHECK(alloy_wait(&engine) == ALLOY_LATE);
    patience = ~0u;
    alloy_abort(&engine);
    CHECK(alloy_wait(&engine) == ALLOY_STOPPED && engine.code == ALLOY_ERROR_ABORT);
    run(j, 0, 3);
    whole = alloy_count(&engine).cycles;
    put(j, 0, 4);       /* whoever opens the engine stops what another left running */
    CHECK(alloy_start(&engine, &j->loaded, 0) == ALLOY_OK && alloy_open(&engine, &sleeping) == ALLOY_OK);
    CHECK(!(host_read(ALLOY_STATUS) & ALLOY_STATUS_BUSY) && engine.running == NULL);
    CHECK(alloy_count(&engine).cycles < whole / 2);
    run(j, 0, 4);
    alloy_watchdog(&engine, 3000);
    host_dead(1);
    put(j, 0, 0);
    CHECK(alloy_start(&engine, &j->loaded, 0) == ALLOY_OK && alloy_wait(&engine) == ALLOY_HUNG);
    CHECK(engine.code == ALLOY_ERROR_TIMEOUT && alloy_open(&engine, &sleeping) == ALLOY_HUNG);
    host_dead(0);
    host_reset();
    CHECK(alloy_open(&engine, &sleeping) == ALLOY_OK);
    run(j, 0, 0);
    for (int status = 0; status <= ALLOY_HUNG; status++)
        for (int other = 0; other < status; other++)
            CHECK(strcmp(alloy_text((alloy_status)status), alloy_text((alloy_status)other)) != 0);
    CHECK(strstr(alloy_text((alloy_status)99), "no status") && strstr(alloy_code_text(200), "no error code"));
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(void); const alloy_port *port; } all[] = {
        {"by_polling", by_polling, &polling}, {"by_interrupt", by_interrupt, &sleeping},
        {"in_place", in_place, &sleeping},
        {"late_lines", late_lines, &sleeping}, {"in_turn", in_turn, &sleeping},
        {"other_layouts", other_layouts, &polling}, {"refusals", refusals, &sleeping}, {"errors", errors, &sleeping}};
    CHECK(argc == 4);
    memset(memory, 0xA5, MEMORY);
    memset(cached, 0xA5, MEMORY);
    memset(synced, 0xA5, MEMORY);
    host_open(memory, BASE, MEMORY, 3, atof(argv[3]), 20);
    prepare(argv[2], 0);
    prepare(argv[2], 1);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(all[i].name, argv[1]) == 0) {
            CHECK(alloy_open(&engine, all[i].port) == ALLOY_OK);
            all[i].run();
            CHECK(host_violation()[0] == 0);
            host_close();
            puts("all is well");
            return 0;
        }
    return 2;
}
