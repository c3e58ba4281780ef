#include "alloy.h"

#include <string.h>

#include "alloy_regs.h"

enum { HEADER_BYTES = 128, TENSOR_BYTES = 64, PAGE = 4096, CHECKED = 24 };

/* Fields of the file, by their first byte: docs/program.md, "The flat file". */
enum {
    FORMAT = 8, HEADER = 12, FILE_BYTES = 16, CHECKSUM = 20, VERSION = 24, DIGEST = 28, WINDOW = 32, WINDOW_2 = 36,
    IMAGE_AT = 40, IMAGE_BYTES = 44, COMMAND_COUNT = 48, COMMANDS = 52, COMMANDS_2 = 56, COMMANDS_AT = 60,
    TENSORS = 64, TENSORS_AT = 68, CLASSES = 72, CLASSES_AT = 76, CHANNELS = 80, HEIGHT = 84, WIDTH = 88, PIXEL = 92,
    ROW = 96
};

static uint32_t u16(const uint8_t *at) { return (uint32_t)at[0] | (uint32_t)at[1] << 8; }
static uint32_t u32(const uint8_t *at) { return u16(at) | u16(at + 2) << 16; }

static double f64(const uint8_t *at)
{
    uint64_t bits = (uint64_t)u32(at + 4) << 32 | u32(at);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t checksum(const uint8_t *data, size_t bytes)
{
    static const uint32_t table[16] = {
        0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
        0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu, 0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
    uint32_t sum = 0xffffffffu;
    for (size_t i = 0; i < bytes; i++) {
        sum ^= data[i];
        sum = sum >> 4 ^ table[sum & 15];
        sum = sum >> 4 ^ table[sum & 15];
    }
    return ~sum;
}

static int inside(uint64_t at, uint64_t bytes, uint64_t size) { return at <= size && bytes <= size - at; }

/* Whether so many texts, each with its 0, begin at a place of a file. */
static int texts(const uint8_t *data, size_t size, uint32_t at, uint32_t count)
{
    size_t next = at;
    for (; count; count--) {
        const uint8_t *end = next < size ? memchr(data + next, 0, size - next) : NULL;
        if (end == NULL)
            return 0;
        next = (size_t)(end - data) + 1;
    }
    return 1;
}

static void read_tensor(const uint8_t *data, uint32_t index, alloy_tensor *t)
{
    const uint8_t *at = data + u32(data + TENSORS_AT) + (size_t)index * TENSOR_BYTES;
    t->name = (const char *)data + u32(at);
    t->offset[0] = u32(at + 4);
    t->offset[1] = u32(at + 8);
    t->bytes = u32(at + 12);
    t->channels = u32(at + 16);
    t->height = u32(at + 20);
    t->width = u32(at + 24);
    t->groups = u32(at + 28);
    t->group_bytes = u32(at + 32);
    t->group_channels = u32(at + 36);
    t->bits = u32(at + 40);
    t->zero = u32(at + 44);
    t->scale = f64(at + 48);
    t->order = data + u32(at + 56);
    t->positions = u32(at + 60);
    t->row_bytes = index == 0 ? u32(data + ROW) : (uint64_t)t->groups * t->group_bytes * t->width;
}

/* Everything that the loops over a tensor rely on. */
static int sound_tensor(const uint8_t *data, size_t size, uint32_t index)
{
    const uint8_t *at = data + u32(data + TENSORS_AT) + (size_t)index * TENSOR_BYTES;
    alloy_tensor t;
    uint64_t pixels, most = 0xffffffffu;
    if (!texts(data, size, u32(at), 1) || !inside(u32(at + 56), 2 * (uint64_t)u32(at + 60), size))
        return 0;
    read_tensor(data, index, &t);
    if (t.channels == 0 || t.height == 0 || t.width == 0 || t.bits == 0 || t.bits > 8 || t.zero >> t.bits
            || t.group_channels == 0 || t.group_channels > t.group_bytes
            || t.channels > t.positions || t.positions > (uint64_t)t.groups * t.group_channels
            || (uint64_t)t.groups * t.group_bytes > most)
        return 0;
    pixels = (uint64_t)t.groups * t.group_bytes * t.width;
    if (pixels > t.row_bytes || t.row_bytes > most || t.row_bytes * (t.height - 1) + pixels != t.bytes || !inside(t.offset[0], t.bytes, u32(data + WINDOW))
            || !inside(t.offset[1], t.bytes, u32(data + WINDOW_2)))
        return 0;
    for (uint32_t p = 0; p < t.positions; p++) {
        uint32_t channel = u16(t.order + 2 * (size_t)p);
        if (channel >= t.channels && channel != ALLOY_HOLE)
            return 0;
    }
    return 1;
}

/* Whether the parts of a file lie in it, and what it puts into the window lies there. */
static int sound_parts(const uint8_t *data, size_t size)
{
    uint64_t commands = (uint64_t)u32(data + COMMAND_COUNT) * ALLOY_COMMAND_BYTES;
    return commands != 0 && u32(data + WINDOW) <= u32(data + WINDOW_2)
        && inside(u32(data + IMAGE_AT), u32(data + IMAGE_BYTES), size)
        && inside(u32(data + COMMANDS_AT), commands, size)
        && u32(data + IMAGE_BYTES) <= u32(data + WINDOW)
        && inside(u32(data + COMMANDS), commands, u32(data + IMAGE_BYTES))
        && inside(u32(data + COMMANDS_2), commands, u32(data + WINDOW_2))
        && u32(data + TENSORS) >= 2
        && inside(u32(data + TENSORS_AT), (uint64_t)u32(data + TENSORS) * TENSOR_BYTES, size)
        && texts(data, size, u32(data + CLASSES_AT), u32(data + CLASSES));
}

/* Whether the input is the image that the header describes: the channels of a pixel are its first bytes. */
static int sound_image(const uint8_t *data)
{
    alloy_tensor t;
    read_tensor(data, 0, &t);
    for (uint32_t p = 0; p < t.positions; p++)
        if (u16(t.order + 2 * (size_t)p) != p)
            return 0;
    return t.groups == 1 && t.channels == u32(data + CHANNELS) && t.height == u32(data + HEIGHT)
        && t.width == u32(data + WIDTH) && t.group_bytes == u32(data + PIXEL);
}

alloy_status alloy_parse(alloy_program *program, const void *file, size_t bytes)
{
    const uint8_t *data = file, *start;
    memset(program, 0, sizeof *program);
    if (data == NULL || bytes < HEADER_BYTES || memcmp(data, "ALLOYPRG", 8) != 0 || u32(data + FORMAT) != 2
            || u32(data + HEADER) < HEADER_BYTES || u32(data + FILE_BYTES) != bytes
            || u32(data + CHECKSUM) != checksum(data + CHECKED, bytes - CHECKED) || !sound_parts(data, bytes))
        return ALLOY_NO_PROGRAM;
    for (uint32_t i = 0; i < u32(data + TENSORS); i++)
        if (!sound_tensor(data, bytes, i))
            return ALLOY_NO_PROGRAM;
    start = data + u32(data + IMAGE_AT) + u32(data + COMMANDS);
    if (!sound_image(data) || u32(start + ALLOY_START_DIGEST) != u32(data + DIGEST)
            || u32(start + ALLOY_START_VERSION) != u32(data + VERSION))
        return ALLOY_NO_PROGRAM;
    program->data = data;
    program->version = u32(data + VERSION);
    program->digest = u32(data + DIGEST);
    program->window_bytes = u32(data + WINDOW);
    program->window_bytes_2 = u32(data + WINDOW_2);
    program->tensors = u32(data + TENSORS);
    program->classes = u32(data + CLASSES);
    program->image_channels = u32(data + CHANNELS);
    program->image_height = u32(data + HEIGHT);
    program->image_width = u32(data + WIDTH);
    return ALLOY_OK;
}

static uint32_t get(const alloy_engine *engine, uint32_t offset)
{
    return engine->port->read(engine->port->context, offset);
}

static void set(const alloy_engine *engine, uint32_t offset, uint32_t value)
{
    engine->port->write(engine->port->context, offset, value);
}

static void clean(const alloy_port *port, uint8_t *at, size_t bytes)
{
    if (port->clean != NULL)
        port->clean(port->context, at, bytes);
}

static void invalidate(const alloy_port *port, uint8_t *at, size_t bytes)
{
    if (port->invalidate != NULL)
        port->invalidate(port->context, at, bytes);
}

alloy_status alloy_open(alloy_engine *engine, const alloy_port *port)
{
    memset(engine, 0, sizeof *engine);
    engine->port = port;
    if (get(engine, ALLOY_ID) != ALLOY_ID_VALUE)
        return ALLOY_NO_ENGINE;
    if (get(engine, ALLOY_VERSION) != ALLOY_VERSION_VALUE)
        return ALLOY_ENGINE_VERSION;
    engine->digest = get(engine, ALLOY_DIGEST);
    set(engine, ALLOY_IRQ_ENABLE, 0);
    if (get(engine, ALLOY_STATUS) & ALLOY_STATUS_BUSY) {
        alloy_status ended;
        set(engine, ALLOY_CTRL, ALLOY_CTRL_ABORT);
        do
            ended = alloy_poll(engine);
        while (ended == ALLOY_BUSY);
        if (ended == ALLOY_HUNG)
            return ended;
    }
    engine->code = engine->tag = 0;
    return ALLOY_OK;
}

alloy_status alloy_load(const alloy_engine *engine, alloy_loaded *loaded, const alloy_program *program,
                        const alloy_memory *memory)
{
    const uint8_t *data = program->data;
    memset(loaded, 0, sizeof *loaded);
    if (data == NULL)
        return ALLOY_NO_PROGRAM;
    if (program->version != ALLOY_VERSION_VALUE)
        return ALLOY_PROGRAM_VERSION;
    if (program->digest != engine->digest)
        return ALLOY_PROGRAM_DIGEST;
    if (memory->bytes < program->window_bytes)
        return ALLOY_MEMORY_SMALL;
    if (memory->address % PAGE != 0)
        return ALLOY_MEMORY_ALIGNMENT;
    memcpy(memory->at, data + u32(data + IMAGE_AT), u32(data + IMAGE_BYTES));
    clean(engine->port, memory->at, u32(data + IMAGE_BYTES));
    loaded->banks = memory->bytes < program->window_bytes_2 ? 1 : 2;
    if (loaded->banks == 2) {
        size_t bytes = (size_t)u32(data + COMMAND_COUNT) * ALLOY_COMMAND_BYTES;
        uint8_t *at = memory->at + u32(data + COMMANDS_2);
        memcpy(at, data + u32(data + COMMANDS_AT), bytes);
        clean(engine->port, at, bytes);
    }
    loaded->port = engine->port;
    loaded->program = program;
    loaded->memory = *memory;
    return ALLOY_OK;
}

alloy_status alloy_image(const alloy_loaded *loaded, unsigned bank, uint8_t **at)
{
    alloy_tensor input;
    if (bank >= loaded->banks)
        return ALLOY_ARGUMENT;
    read_tensor(loaded->program->data, 0, &input);
    *at = loaded->memory.at + input.offset[bank];
    return ALLOY_OK;
}

alloy_status alloy_put_image(const alloy_engine *engine, const alloy_loaded *loaded, unsigned bank,
                             const uint8_t *pixels, size_t row_bytes, size_t pixel_bytes)
{
    alloy_tensor t;
    uint8_t *region;
    unsigned seen = 0;
    if (alloy_image(loaded, bank, &region) != ALLOY_OK)
        return ALLOY_ARGUMENT;
    if (engine->running == loaded && engine->bank == bank)
        return ALLOY_BUSY;
    read_tensor(loaded->program->data, 0, &t);
    for (uint32_t y = 0; y < t.height; y++) {
        const uint8_t *from = pixels + y * row_bytes;
        uint8_t *to = region + y * t.row_bytes;
        if (pixel_bytes == t.group_bytes && t.bits == 8) {
            memcpy(to, from, (size_t)t.group_bytes * (t.width - 1) + t.channels);
            continue;
        }
        for (uint32_t x = 0; x < t.width; x++, from += pixel_bytes, to += t.group_bytes)
            for (uint32_t c = 0; c < t.channels; c++)
                seen |= to[c] = from[c];
    }
    clean(loaded->port, region, t.bytes);
    return (seen >> t.bits) != 0 ? ALLOY_IMAGE : ALLOY_OK;
}

static void forget_outputs(const alloy_loaded *loaded, unsigned bank)
{
    for (uint32_t i = 1; i < loaded->program->tensors; i++) {
        alloy_tensor t;
        read_tensor(loaded->program->data, i, &t);
        invalidate(loaded->port, loaded->memory.at + t.offset[bank], t.bytes);
    }
}

alloy_status alloy_start(alloy_engine *engine, const alloy_loaded *loaded, unsigned bank)
{
    const uint8_t *data;
    uint32_t low, high;
    if (bank >= loaded->banks)
        return ALLOY_ARGUMENT;
    if (engine->running != NULL || get(engine, ALLOY_STATUS) & ALLOY_STATUS_BUSY)
        return ALLOY_BUSY;
    data = loaded->program->data;
    low = (uint32_t)(loaded->memory.address & 0xffffffffu);
    high = (uint32_t)(loaded->memory.address >> 32);
    set(engine, ALLOY_BASE_LO, low);
    set(engine, ALLOY_BASE_HI, high);
    if (get(engine, ALLOY_BASE_LO) != low || get(engine, ALLOY_BASE_HI) != high)
        return ALLOY_MEMORY_ADDRESS;
    set(engine, ALLOY_SIZE, loaded->banks == 2 ? loaded->program->window_bytes_2 : loaded->program->window_bytes);
    set(engine, ALLOY_CMD_OFFSET, u32(data + (bank ? COMMANDS_2 : COMMANDS)));
    set(engine, ALLOY_CMD_COUNT, u32(data + COMMAND_COUNT));
    /* What a cache holds of the outputs would be written over those of the engine later. */
    forget_outputs(loaded, bank);
    set(engine, ALLOY_IRQ_STATUS, ALLOY_IRQ_STATUS_DONE | ALLOY_IRQ_STATUS_ERROR);
    set(engine, ALLOY_IRQ_ENABLE, engine->port->wait ? ALLOY_IRQ_ENABLE_DONE | ALLOY_IRQ_ENABLE_ERROR : 0);
    engine->running = loaded;
    engine->bank = bank;
    engine->code = engine->tag = 0;
    set(engine, ALLOY_CTRL, ALLOY_CTRL_START);
    return ALLOY_OK;
}

alloy_status alloy_poll(alloy_engine *engine)
{
    uint32_t status = get(engine, ALLOY_STATUS);
    const alloy_loaded *loaded = engine->running;
    if ((status & ALLOY_STATUS_BUSY) && !(status & ALLOY_STATUS_ERROR))
        return ALLOY_BUSY;
    engine->code = (status & ALLOY_STATUS_CODE) >> ALLOY_STATUS_CODE_SHIFT;
    engine->tag = (status & ALLOY_STATUS_TAG) >> ALLOY_STATUS_TAG_SHIFT;
    if (status & ALLOY_STATUS_BUSY)
        return ALLOY_HUNG;
    engine->running = NULL;
    if (status & ALLOY_STATUS_ERROR)
        return ALLOY_STOPPED;
    if (loaded == NULL)
        return ALLOY_IDLE;
    forget_outputs(loaded, engine->bank);
    return ALLOY_OK;
}

alloy_status alloy_wait(alloy_engine *engine)
{
    const alloy_port *port = engine->port;
    alloy_status status = alloy_poll(engine);
    while (status == ALLOY_BUSY) {
        if (port->wait != NULL && port->wait(port->context) != 0) {
            status = alloy_poll(engine);
            return status == ALLOY_BUSY ? ALLOY_LATE : status;
        }
        status = alloy_poll(engine);
    }
    return status;
}

void alloy_abort(const alloy_engine *engine) { set(engine, ALLOY_CTRL, ALLOY_CTRL_ABORT); }

uint32_t alloy_interrupt(const alloy_engine *engine)
{
    uint32_t pending = get(engine, ALLOY_IRQ_STATUS);
    if (pending)
        set(engine, ALLOY_IRQ_STATUS, pending);
    return pending;
}

void alloy_watchdog(const alloy_engine *engine, uint32_t cycles) { set(engine, ALLOY_WATCHDOG, cycles); }

alloy_counters alloy_count(const alloy_engine *engine)
{
    alloy_counters c;
    c.cycles = get(engine, ALLOY_CYCLES_LO);        /* keeps the high half for the next read */
    c.cycles |= (uint64_t)get(engine, ALLOY_CYCLES_HI) << 32;
    c.commands = get(engine, ALLOY_COMMANDS);
    c.array_cycles = get(engine, ALLOY_ARRAY_CYCLES);
    c.load_cycles = get(engine, ALLOY_LOAD_CYCLES);
    c.store_cycles = get(engine, ALLOY_STORE_CYCLES);
    c.post_cycles = get(engine, ALLOY_POST_CYCLES);
    return c;
}

alloy_status alloy_describe(const alloy_program *program, uint32_t index, alloy_tensor *tensor)
{
    if (index >= program->tensors)
        return ALLOY_ARGUMENT;
    read_tensor(program->data, index, tensor);
    return ALLOY_OK;
}

alloy_status alloy_get_codes(const alloy_loaded *loaded, unsigned bank, uint32_t index, uint8_t *codes)
{
    alloy_tensor t;
    const uint8_t *pixel;
    if (bank >= loaded->banks || alloy_describe(loaded->program, index, &t) != ALLOY_OK)
        return ALLOY_ARGUMENT;
    pixel = loaded->memory.at + t.offset[bank];
    for (size_t n = (size_t)t.height * t.width; n; n--) {
        const uint8_t *group = pixel;
        for (uint32_t p = 0, lane = 0; p < t.positions; p++) {
            uint32_t channel = u16(t.order + 2 * (size_t)p);
            if (channel != ALLOY_HOLE)
                codes[channel] = group[lane];
            if (++lane == t.group_channels) {
                lane = 0;
                group += t.group_bytes;
            }
        }
        pixel += (size_t)t.groups * t.group_bytes;
        codes += t.channels;
    }
    return ALLOY_OK;
}

alloy_status alloy_classify(const alloy_loaded *loaded, unsigned bank, uint32_t *number)
{
    alloy_tensor t;
    const uint8_t *group;
    uint32_t best = 0, found = 0;
    int any = 0;
    if (bank >= loaded->banks || alloy_describe(loaded->program, 1, &t) != ALLOY_OK || t.height != 1 || t.width != 1)
        return ALLOY_ARGUMENT;
    group = loaded->memory.at + t.offset[bank];
    for (uint32_t p = 0; p < t.positions; p++) {
        uint32_t channel = u16(t.order + 2 * (size_t)p);
        uint32_t code = group[(size_t)(p / t.group_channels) * t.group_bytes + p % t.group_channels];
        if (channel == ALLOY_HOLE)
            continue;
        if (!any || code > best || (code == best && channel < found)) {     /* of equal ones the first */
            any = 1;
            best = code;
            found = channel;
        }
    }
    *number = found;
    return ALLOY_OK;
}

const char *alloy_class(const alloy_program *program, uint32_t number)
{
    const char *name;
    if (number >= program->classes)
        return NULL;
    name = (const char *)program->data + u32(program->data + CLASSES_AT);
    for (; number; number--)
        name += strlen(name) + 1;
    return name;
}

double alloy_value(const alloy_tensor *tensor, unsigned code)
{
    return tensor->scale * ((double)code - (double)tensor->zero);
}

const char *alloy_text(alloy_status status)
{
    switch (status) {
    case ALLOY_OK: return "all is well";
    case ALLOY_BUSY: return "the engine works: wait for it";
    case ALLOY_LATE: return "the engine still works after all the time that it was given";
    case ALLOY_NO_ENGINE: return "no Alloy engine answers here: is the bitstream loaded, the address right?";
    case ALLOY_ENGINE_VERSION: return "the engine is of another version of Alloy than this driver";
    case ALLOY_NO_PROGRAM: return "this is no whole program file: compile the network again";
    case ALLOY_PROGRAM_VERSION: return "the program is of another version of Alloy: compile the network again";
    case ALLOY_PROGRAM_DIGEST: return "the program is for another configuration: compile it for this engine";
    case ALLOY_MEMORY_SMALL: return "there is less memory than the program needs";
    case ALLOY_MEMORY_ALIGNMENT: return "the memory does not begin at a multiple of 4096";
    case ALLOY_MEMORY_ADDRESS: return "the engine has too few address bits for this memory";
    case ALLOY_ARGUMENT: return "there is no such bank, tensor or class";
    case ALLOY_IMAGE: return "a pixel has more bits than the network reads";
    case ALLOY_IDLE: return "nothing was started";
    case ALLOY_STOPPED: return "the engine stopped with an error";
    case ALLOY_HUNG: return "the bus does not answer: reset engine and bus";
    }
    return "no status of this driver";
}

const char *alloy_code_text(unsigned code)
{
    static const char *const words[] = ALLOY_ERROR_TEXTS;
    return code < sizeof words / sizeof words[0] ? words[code] : "no error code of this version";
}
