// Runs printed kernels: a workgroup at a time, its threads one after another from barrier to barrier.
//
// Each thread of a workgroup that waits is a context of its own on one thread of the machine; so the order is always the
// same, and a barrier that only some threads reach is found. The generated file includes this, then the kernels, and ends
// with the table `kernels` that main() here reads. SUBGROUP is the number of threads of a subgroup.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>
#include <setjmp.h>
#include <ucontext.h>

#define METAL_RUN
#include "metal_stdlib"

// A slot that becomes a reference to whatever the entry point takes.
struct Slot {
    void* start;
    template <class T> operator T&() const { return *(T*)start; }
};

// A kernel with its memory: buffers by slot, and memory of the workgroup.
typedef void (*Entry)(metal::uint3 workgroup, metal::uint lane, void** buffers, char* shared);

struct Kernel {
    const char* label;
    Entry entry;
    unsigned threads;
    unsigned shared_bytes;
    bool waits;
};

extern const Kernel kernels[];
extern const unsigned kernel_count;

// What memory holds before somebody writes: a NaN, so that whoever counts on zeros is found.
constexpr uint32_t UNWRITTEN = 0x7fc0dead;

[[noreturn]] static void fail(const char* what, const char* label) {
    fprintf(stderr, "%s: %s\n", label, what);
    exit(2);
}

namespace fibers {
constexpr size_t STACK = 64 << 10;

// The first switch to a context is ucontext's, which calls its function; later ones jump, which needs no system call.
struct Fiber {
    ucontext_t context;
    jmp_buf place;
    bool started = false;
    bool done = false;
    // How often it exchanged values.
    unsigned turn = 0;
};

static std::vector<Fiber> all;
static std::vector<char> stacks;
static jmp_buf scheduler;
static Fiber* current;
static void (*body)(unsigned lane);

static void begin(unsigned lane) {
    body(lane);
    current->done = true;
    _longjmp(scheduler, 1);
}

static void wait() {
    if (_setjmp(current->place) == 0) _longjmp(scheduler, 1);
}

// Lets a thread run up to the next barrier, or its end.
static void resume(Fiber& fiber) {
    current = &fiber;
    if (_setjmp(scheduler) != 0) return;
    if (fiber.started) _longjmp(fiber.place, 1);
    fiber.started = true;
    setcontext(&fiber.context);
}

static void run(unsigned threads, const char* label) {
    if (all.size() < threads) {
        all.resize(threads);
        stacks.resize(threads * STACK);
    }
    for (unsigned lane = 0; lane < threads; lane++) {
        Fiber& fiber = all[lane];
        fiber.started = fiber.done = false;
        fiber.turn = 0;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = stacks.data() + lane * STACK;
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, (void (*)())begin, 1, lane);
    }
    for (;;) {
        unsigned done = 0;
        for (unsigned lane = 0; lane < threads; lane++) {
            resume(all[lane]);
            done += all[lane].done;
        }
        if (done == threads) return;
        if (done > 0) fail("some threads of a workgroup ended while others wait at a barrier", label);
    }
}
} // namespace fibers

void metal::threadgroup_barrier(metal::mem_flags) { fibers::wait(); }

// All threads of the workgroup wait for each other, which is more than those of a subgroup do. What is handed over must
// stay where it is until everybody has it, so it is copied to one of two places that are used in turns.
const void* metal::exchange(const void* mine, metal::uint bytes, metal::uint other, bool by_difference) {
    struct alignas(16) Value { char bytes[16]; };
    static std::vector<Value> places[2];
    unsigned lane = fibers::current - fibers::all.data();
    unsigned turn = fibers::current->turn++ % 2;
    if (places[turn].size() < fibers::all.size()) places[turn].resize(fibers::all.size());
    __builtin_memcpy(places[turn][lane].bytes, mine, bytes);
    fibers::wait();
    unsigned own = lane % SUBGROUP;
    return places[turn][lane - own + (by_difference ? own ^ other : other)].bytes;
}

metal::uint metal::thread_of_subgroup() { return (fibers::current - fibers::all.data()) % SUBGROUP; }

// One workgroup, for the threads that run it.
static struct {
    Entry entry;
    metal::uint3 workgroup;
    void** buffers;
    char* shared;
} now;

static void run_dispatch(const Kernel& chosen, const uint32_t* grid, void** buffers) {
    std::vector<uint32_t> shared(chosen.shared_bytes / 4 + 4);
    fibers::body = [](unsigned lane) { now.entry(now.workgroup, lane, now.buffers, now.shared); };
    // Aligned as the widest vector.
    char* start = (char*)(((uintptr_t)shared.data() + 15) / 16 * 16);
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                for (auto& word : shared) word = UNWRITTEN;
                metal::uint3 workgroup = {x, y, z};
                now = {chosen.entry, workgroup, buffers, start};
                if (chosen.waits)
                    fibers::run(chosen.threads, chosen.label);
                else
                    for (unsigned lane = 0; lane < chosen.threads; lane++) fibers::body(lane);
            }
}

// Words of the file that says what to do, one after another.
struct Reader {
    const uint32_t* at;
    uint32_t word() { return *at++; }
    const uint32_t* words(size_t count) {
        at += count;
        return at - count;
    }
};

// Reads memory and dispatches, runs them, and writes the memory back: `run memory steps`.
int main(int count, char** arguments) {
    if (count != 3) fail("expects a file of memory and a file of dispatches", arguments[0]);
    auto read = [&](const char* path) {
        FILE* file = fopen(path, "rb");
        if (!file) fail("cannot be read", path);
        fseek(file, 0, SEEK_END);
        std::vector<uint32_t> words(ftell(file) / 4);
        rewind(file);
        if (fread(words.data(), 4, words.size(), file) != words.size()) fail("cannot be read", path);
        fclose(file);
        return words;
    };
    std::vector<uint32_t> memory = read(arguments[1]), steps = read(arguments[2]);
    Reader reader{steps.data()};
    while (reader.at < steps.data() + steps.size()) {
        uint32_t number = reader.word();
        if (number >= kernel_count) fail("names a kernel that is not there", arguments[2]);
        const uint32_t* grid = reader.words(3);
        uint32_t param_count = reader.word();
        // Parameters are read as vectors, which lie at multiples of 16 bytes.
        struct alignas(16) Four { uint32_t words[4]; };
        std::vector<Four> params((param_count + 3) / 4);
        __builtin_memcpy(params.data(), reader.words(param_count), param_count * 4);
        std::vector<void*> buffers{params.data()};
        uint32_t storage = reader.word();
        std::vector<uint32_t> sizes;
        for (uint32_t i = 0; i < storage; i++) {
            buffers.push_back(memory.data() + reader.word());
            sizes.push_back(reader.word());
        }
        buffers.push_back(sizes.data());
        run_dispatch(kernels[number], grid, buffers.data());
    }
    FILE* file = fopen(arguments[1], "wb");
    if (!file || fwrite(memory.data(), 4, memory.size(), file) != memory.size() || fclose(file) != 0)
        fail("cannot be written", arguments[1]);
    return 0;
}
