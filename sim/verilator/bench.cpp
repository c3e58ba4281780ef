// Runs a program on the Verilated engine against a DRAM model. Job and result are files; see sim/verilator/__init__.py.
#include <fstream>
#include <map>
#include <sstream>
#include "bus.h"

struct Job {
    std::map<std::string, double> number;
    std::vector<std::pair<uint64_t, uint64_t>> regions;
    std::vector<std::pair<uint64_t, std::string>> inputs;
    double get(const std::string &key) const { return number.at(key); }
};

static Job read_job(const char *path) {
    Job job;
    std::ifstream in(path);
    std::string line, key;
    while (std::getline(in, line)) {
        std::istringstream words(line);
        words >> key;
        if (key == "region") { uint64_t a, b; words >> a >> b; job.regions.push_back({a, b}); }
        else if (key == "input") { uint64_t a; std::string f; words >> a >> f; job.inputs.push_back({a, f}); }
        else { double v; words >> v; job.number[key] = v; }
    }
    return job;
}

static void load_file(const std::string &path, uint64_t at) {
    std::ifstream in(path, std::ios::binary);
    std::vector<char> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    if (at + bytes.size() > dram_bytes) { std::fprintf(stderr, "%s does not fit the window\n", path.c_str()); std::exit(3); }
    std::memcpy(dram + at, bytes.data(), bytes.size());
}

int main(int argc, char **argv) {
    std::string dir = argv[1];
    Job job = read_job((dir + "/job.txt").c_str());
    top = new Valloy;
    base = window_base = (uint64_t)job.get("base");
    dram_bytes = window_bytes = (uint64_t)job.get("size");
    dram = new uint8_t[dram_bytes]();
    dice.seed((uint64_t)job.get("seed"));
    stall = job.get("stall");
    load_file(dir + "/image.bin", 0);
    bind(*top, reads, writes);
    for (size_t i = 0; i < reads.size(); i++) {
        reads[i].rate = job.get("bytes_per_cycle");
        reads[i].latency = (uint64_t)job.get("latency");
    }
    writes.rate = job.get("bytes_per_cycle");
    shared_rate = job.get("all_bytes_per_cycle");
    writes.latency = (uint64_t)job.get("latency");
    reads[0].fault.beat = (uint64_t)job.get("bad_read");
    writes.fault.beat = (uint64_t)job.get("bad_write");
    waveform.run = (uint64_t)job.get("trace_run");
    waveform.first = (uint64_t)job.get("trace_first");
    waveform.end = (uint64_t)job.get("trace_end");
    waveform.open(dir + "/trace.fst");
    std::ofstream json(dir + "/result.json"), out(dir + "/out.bin", std::ios::binary);
    json << "{\"runs\": [";
    reset();
    uint64_t abort_at = (uint64_t)job.get("abort_at"), reset_at = (uint64_t)job.get("reset_at");
    for (size_t run = 0; run < job.inputs.size(); run++) {
        load_file(dir + "/" + job.inputs[run].second, job.inputs[run].first);
        for (auto &r : job.regions) std::memset(&dram[r.first], 0xEE, r.second);
        trace.clear();
        put(BASE_LO, (uint32_t)base); put(BASE_HI, (uint32_t)(base >> 32)); put(SIZE, (uint32_t)dram_bytes);
        put(CMD_OFFSET, (uint32_t)job.get("command_offset")); put(CMD_COUNT, (uint32_t)job.get("command_count"));
        put(WATCHDOG, (uint32_t)job.get("watchdog")); put(IRQ_STATUS, 3); put(IRQ_ENABLE, 3);
        current = run;
        started = now;
        put(CTRL, 1);
        bool hung = false, aborted = run || !abort_at;
        while (!top->irq) {
            if (!aborted && now - started >= abort_at) { put(CTRL, 2); aborted = true; }
            if (run == 0 && reset_at && now - started >= reset_at) { reset(); break; }
            tick();
            if (now - started > (uint64_t)job.get("limit")) { hung = true; break; }
            if (!violation.empty()) break;
        }
        if (top->irq)
            for (auto &r : reads)
                if (!r.idle() || !writes.idle()) fail("transfers are outstanding at the interrupt");
        uint32_t status = get(STATUS);
        uint64_t cycles = get(CYCLES_LO);
        cycles |= (uint64_t)get(CYCLES_HI) << 32;
        json << (run ? ", " : "") << "{\"status\": " << status << ", \"hung\": " << (hung ? "true" : "false") << ", \"cycles\": " << cycles
             << ", \"started\": " << started << ", \"commands\": " << get(COMMANDS) << ", \"array_cycles\": " << get(ARRAY_CYCLES)
             << ", \"load_cycles\": " << get(LOAD_CYCLES) << ", \"store_cycles\": " << get(STORE_CYCLES) << ", \"post_cycles\": " << get(POST_CYCLES)
             << ", \"digest\": " << get(DIGEST) << ", \"trace\": [";
        for (size_t i = 0; i < trace.size(); i++)
            json << (i ? "," : "") << "[" << trace[i][0] - started << "," << trace[i][1] << "," << trace[i][2] << "]";
        json << "]}";
        for (auto &r : job.regions) out.write((const char *)&dram[r.first], r.second);
        std::printf("run %zu %llu\n", run, (unsigned long long)cycles);
        std::fflush(stdout);
        if (hung || !violation.empty()) break;
    }
    json << "], \"violation\": \"" << violation << "\"}\n";
    waveform.close();
    delete top;
    delete[] dram;
    return 0;
}
