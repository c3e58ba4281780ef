// The DRAM model behind the ports of the Verilated engine, a clock, and a master on its AXI4-Lite port: what every program
// around a model has.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <vector>
#include "Valloy.h"
#include "verilated.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
#endif
#include "pins.h"   // generated: PORTS, PORT_BYTES, ReadPins, WritePins, bind_read(), bind_write(), register offsets

static Valloy *top;
static uint8_t *dram;                           // bytes of it are at bus address base
static uint64_t base, dram_bytes, now;
static uint64_t window_base, window_bytes;      // of the program that runs
static std::mt19937_64 dice;
static double stall;
static std::string violation;
static bool dead;                               // nothing in memory answers
static double shared, shared_rate = 1e9;        // bytes that the DRAM gives all ports together: now, and in each cycle

static bool flows() { return stall == 0 || std::uniform_real_distribution<>(0, 1)(dice) >= stall; }
static void fail(const std::string &what) { if (violation.empty()) violation = what + " in cycle " + std::to_string(now); }

static bool legal(const char *name, uint64_t addr, unsigned len, unsigned size, unsigned burst) {
    uint64_t bytes = (uint64_t)(len + 1) * PORT_BYTES;
    std::string who(name);
    if ((1u << size) != PORT_BYTES || burst != 1) fail(who + ": burst size or type");
    if (addr % PORT_BYTES) fail(who + ": unaligned address");
    if ((addr & 4095) + bytes > 4096) fail(who + ": burst crosses 4 KB");
    if (addr < window_base || addr + bytes > window_base + window_bytes) { fail(who + ": address outside the window"); return false; }
    return true;
}

// What goes wrong on a port, from or at a beat that is counted from the reset: no answers from then on, nothing taken from
// then on, or the response of that beat.
enum { SILENT, CLOSED, SLVERR, DECERR };
struct Fault {
    uint64_t beat = ~0ull;
    unsigned kind = SLVERR;
    bool is(unsigned what, uint64_t at) const { return at >= beat && kind == what; }
    unsigned response(uint64_t at, bool ok) const { return !ok ? SLVERR : at == beat && kind >= SLVERR ? kind : 0; }
};

struct Burst { uint64_t addr; unsigned beats; uint64_t ready; bool ok; unsigned id; };

// The payload of an address channel: it must not move while valid waits for ready.
struct Request {
    uint64_t addr = 0;
    std::array<CData, HELD> rest{};
    bool operator==(const Request &other) const { return addr == other.addr && rest == other.rest; }
};

static Request request(uint64_t addr, const std::array<CData *, HELD> &pins) {
    Request r;
    r.addr = addr;
    for (unsigned i = 0; i < HELD; i++) r.rest[i] = *pins[i];
    return r;
}

struct ReadPort {
    ReadPins p;
    std::deque<Burst> bursts;
    double tokens = 0, rate;
    uint64_t latency, beat = 0;
    Fault fault;
    bool waiting = false, offered = false;
    Request held;
    void drive() {
        *p.arready = bursts.size() < 64 && !fault.is(CLOSED, beat) && flows();
        tokens = std::min(tokens + rate, 4.0 * PORT_BYTES);
        if (!dead && !fault.is(SILENT, beat) && !offered && !bursts.empty() && bursts.front().ready <= now && tokens >= PORT_BYTES && shared >= PORT_BYTES && flows()) {
            Burst &b = bursts.front();
            offered = true;
            tokens -= PORT_BYTES;
            shared -= PORT_BYTES;
            if (b.ok) std::memcpy(p.rdata, dram + (b.addr - base), PORT_BYTES); else std::memset(p.rdata, 0, PORT_BYTES);
            *p.rresp = fault.response(beat, b.ok);
            *p.rlast = b.beats == 1;
            *p.rid = b.id;
            *p.rvalid = 1;
            beat++;
        }
    }
    void sample() {
        Request asked = *p.arvalid ? request(p.araddr(), p.held()) : Request();
        if (waiting && (!*p.arvalid || !(asked == held))) fail("read address changed while it waited");
        waiting = *p.arvalid && !*p.arready;
        held = asked;
        if (*p.arvalid && *p.arready) {
            bool ok = legal("read", asked.addr, *p.arlen, *p.arsize, *p.arburst);
            bursts.push_back({asked.addr, *p.arlen + 1u, now + latency, ok, *p.arid});
        }
        if (offered && *p.rready) {
            Burst &b = bursts.front();
            b.addr += PORT_BYTES;
            if (--b.beats == 0) bursts.pop_front();
            offered = false;
        }
    }
    void release() { if (!offered) *p.rvalid = 0; }
    bool idle() const { return bursts.empty(); }
    void reset() { bursts.clear(); offered = waiting = false; *p.rvalid = 0; tokens = 0; }
};

struct WritePort {
    WritePins p;
    std::deque<Burst> bursts;
    struct Beat { uint8_t data[PORT_BYTES]; uint64_t strb; bool last; };
    std::deque<Beat> beats;
    struct Response { uint64_t ready, beat; unsigned resp, id; };
    std::deque<Response> responses;
    double tokens = 0, rate;
    uint64_t latency, beat = 0;
    Fault fault;
    unsigned bad = 0;
    bool aw_waiting = false, w_waiting = false, offered = false;
    Request held_request;
    Beat held;
    void drive() {
        tokens = std::min(tokens + rate, 4.0 * PORT_BYTES);
        *p.awready = !fault.is(CLOSED, beat) && flows();
        *p.wready = !fault.is(CLOSED, beat) && tokens >= PORT_BYTES && shared >= PORT_BYTES && flows();
        if (!dead && !offered && !responses.empty() && !fault.is(SILENT, responses.front().beat) && responses.front().ready <= now && flows()) {
            offered = true;
            *p.bvalid = 1;
            *p.bresp = responses.front().resp;
            *p.bid = responses.front().id;
        }
    }
    void sample() {
        Request asked = *p.awvalid ? request(p.awaddr(), p.held()) : Request();
        if (aw_waiting && (!*p.awvalid || !(asked == held_request))) fail("write address changed while it waited");
        aw_waiting = *p.awvalid && !*p.awready;
        held_request = asked;
        Beat now_beat;
        std::memcpy(now_beat.data, p.wdata, PORT_BYTES);
        now_beat.strb = p.wstrb();
        now_beat.last = *p.wlast;
        if (w_waiting && (!*p.wvalid || std::memcmp(now_beat.data, held.data, PORT_BYTES) || now_beat.strb != held.strb || now_beat.last != held.last))
            fail("write data changed while it waited");
        w_waiting = *p.wvalid && !*p.wready;
        held = now_beat;
        if (*p.awvalid && *p.awready)
            bursts.push_back({asked.addr, *p.awlen + 1u, 0, legal("write", asked.addr, *p.awlen, *p.awsize, *p.awburst), *p.awid});
        if (*p.wvalid && *p.wready) { beats.push_back(now_beat); tokens -= PORT_BYTES; shared -= PORT_BYTES; }
        while (!bursts.empty() && !beats.empty()) {
            Burst &b = bursts.front();
            Beat &x = beats.front();
            for (unsigned i = 0; i < PORT_BYTES; i++)
                if (b.ok && (x.strb >> i & 1)) dram[b.addr - base + i] = x.data[i];
            if (x.last != (b.beats == 1)) fail("WLAST at the wrong beat");
            if (unsigned response = fault.response(beat, b.ok)) bad = response;
            b.addr += PORT_BYTES;
            beats.pop_front();
            if (--b.beats == 0) {
                responses.push_back({now + latency, beat, bad, b.id});
                bad = 0;
                bursts.pop_front();
            }
            beat++;
        }
        if (offered && *p.bready) { responses.pop_front(); offered = false; }
    }
    void release() { if (!offered) *p.bvalid = 0; }
    bool idle() const { return bursts.empty() && beats.empty() && responses.empty(); }
    void reset() { bursts.clear(); beats.clear(); responses.clear(); bad = 0; offered = aw_waiting = w_waiting = false; *p.bvalid = 0; tokens = 0; }
};

static std::vector<ReadPort> reads;
static WritePort writes;
static std::vector<std::array<uint64_t, 3>> trace;

// Cycles of one run that are written as a waveform; its time is in half cycles from the write that starts the run.
struct Waveform {
    uint64_t run, first, end;
#if VM_TRACE_FST
    VerilatedFstC file;
    void open(const std::string &path) {
        Verilated::traceEverOn(true);
        top->trace(&file, 99);
        file.open(path.c_str());
    }
    void show(uint64_t half) { file.dump(half); }
    void close() { file.close(); }
#else
    void open(const std::string &) {}
    void show(uint64_t) {}
    void close() {}
#endif
};

static Waveform waveform;
static uint64_t current, started;       // number of the run, cycle in which it was started

static void show(unsigned half) {
    if (current == waveform.run && started && now >= started + waveform.first && now < started + waveform.end)
        waveform.show(2 * (now - started) + half);
}

static void tick() {
    shared = std::min(shared + shared_rate, 4.0 * PORT_BYTES * (reads.size() + 1));
    for (size_t i = 0; i <= reads.size(); i++) {        // another one is the first in each cycle
        size_t port = (now + i) % (reads.size() + 1);
        if (port < reads.size()) reads[port].drive(); else writes.drive();
    }
    top->aclk = 0;
    top->eval();
    show(0);
    for (auto &r : reads) r.sample();
    writes.sample();
    if (top->trace_valid) trace.push_back({now, top->trace_event, top->trace_tag});
    bool aw = top->s_axil_awvalid && top->s_axil_awready, w = top->s_axil_wvalid && top->s_axil_wready, ar = top->s_axil_arvalid && top->s_axil_arready;
    top->aclk = 1;
    top->eval();
    show(1);
    for (auto &r : reads) r.release();
    writes.release();
    if (aw) top->s_axil_awvalid = 0;
    if (w) top->s_axil_wvalid = 0;
    if (ar) top->s_axil_arvalid = 0;
    now++;
}

static void reset() {
    top->aresetn = 0;
    top->s_axil_awvalid = top->s_axil_wvalid = top->s_axil_arvalid = 0;
    for (auto &r : reads) r.reset();
    writes.reset();
    for (int level = 0; level < 2; level++) {       // one edge is enough; before it the outputs may be anything
        top->aclk = level;
        top->eval();
    }
    now++;
    top->aresetn = 1;
}

static const int PATIENCE = 1000;      // cycles for an answer on AXI4-Lite

// Takes one AXI4-Lite response. The master is ready in random cycles; until then the response must stay as it is.
template <class Value> static uint32_t response(const std::string &what, CData &valid, CData &ready, CData &resp, Value value) {
    bool seen = false;
    uint64_t held = 0;
    for (int i = 0; i < PATIENCE; i++) {
        ready = flows();
        top->aclk = 0;
        top->eval();
        uint64_t offered = (uint64_t)resp << 32 | value();
        if (seen && (!valid || offered != held)) fail("response to a register " + what + " changed while it waited");
        seen = valid;
        held = offered;
        bool taken = valid && ready;
        if (taken && resp) fail("response to a register " + what + " is not OKAY");
        tick();
        if (taken) {
            ready = 0;
            return (uint32_t)offered;
        }
    }
    fail("no answer to a register " + what);
    return 0;
}

static void put(uint32_t addr, uint32_t value) {
    top->s_axil_awaddr = addr;
    top->s_axil_wdata = value;
    top->s_axil_wstrb = 15;
    unsigned first = stall == 0 ? 0 : dice() % 3;      // both at once, the address first, the data first
    top->s_axil_awvalid = first != 2;
    top->s_axil_wvalid = first != 1;
    if (first) tick();
    if (first == 2) top->s_axil_awvalid = 1;
    if (first == 1) top->s_axil_wvalid = 1;
    response("write", top->s_axil_bvalid, top->s_axil_bready, top->s_axil_bresp, [] { return 0u; });
}

static uint32_t get(uint32_t addr) {
    top->s_axil_araddr = addr;
    top->s_axil_arvalid = 1;
    return response("read", top->s_axil_rvalid, top->s_axil_rready, top->s_axil_rresp, [] { return (uint32_t)top->s_axil_rdata; });
}
