// Runs translated kernels on the CPU: a block at a time, its threads one after another from barrier to barrier.
//
// Each thread of a block is a context of its own on one thread of the machine, so that the order is always the same, and a
// barrier that only some threads reach is found. The generated file includes this and the prelude, then the kernels, and ends
// with the table `kernels` that main() here reads.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>
#include <setjmp.h>
#include <ucontext.h>

#define __device__
#define __forceinline__ inline
#define __global__
#define __shared__ static
#define __launch_bounds__(threads)
#define __grid_constant__
#define DROPFORGE_INLINE

struct Position {
    unsigned x, y, z;
};
static Position blockIdx, threadIdx;
void __syncthreads();
inline void __threadfence_block() {}
const void* exchange(const void* mine, size_t bytes, unsigned lane);
unsigned own_lane();
template <class T> T __shfl_xor_sync(unsigned, T x, unsigned mask) { return *(const T*)exchange(&x, sizeof x, own_lane() ^ mask); }
template <class T> T __shfl_sync(unsigned, T x, unsigned lane) { return *(const T*)exchange(&x, sizeof x, lane); }
// Threads take turns, so that this is whole.
inline unsigned atomicAdd(unsigned* at, unsigned value) {
    unsigned before = *at;
    *at += value;
    return before;
}

inline unsigned __umulhi(unsigned a, unsigned b) { return (uint64_t(a) * b) >> 32; }

inline unsigned short bf16_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return bits >> 16 | 0x40u;
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
inline unsigned short f16_bits(float number) {
    uint32_t all;
    memcpy(&all, &number, 4);
    uint32_t sign = all >> 16 & 0x8000u, size = all & 0x7fffffffu;
    if (size > 0x7f800000u) return sign | 0x7e00u;
    if (size >= 0x477ff000u) return sign | 0x7c00u;
    if (size >= 0x38800000u) return sign | ((size - 0x38000000u + 0xfffu + (size >> 13 & 1u)) >> 13);
    // Next to 1/2, f32 has the steps of the smallest f16. The sum is rounded as the result shall be.
    float small;
    memcpy(&small, &size, 4);
    volatile float sum = small + 0.5f;
    float rounded = sum;
    memcpy(&size, &rounded, 4);
    return sign | (size - 0x3f000000u);
}
inline float f16_value(unsigned short bits) {
    uint32_t sign = uint32_t(bits & 0x8000u) << 16, size = bits & 0x7fffu;
    uint32_t all = size >= 0x7c00u ? size << 13 | 0x7f800000u : (size << 13) + 0x38000000u;
    if (size < 0x0400u) {
        float small = float(size) * 5.9604644775390625e-8f;
        memcpy(&all, &small, 4);
    }
    all |= sign;
    float number;
    memcpy(&number, &all, 4);
    return number;
}

// An argument that becomes a pointer to whatever the entry point takes, or parameters.
struct Slot {
    void* start;
    template <class T> operator T*() const { return (T*)start; }
};
template <class T> const T& parameters(void* start) { return *(const T*)start; }

typedef void (*Entry)(void** buffers);
struct Kernel {
    const char* label;
    Entry entry;
    unsigned threads;
};
extern const Kernel kernels[];
extern const unsigned kernel_count;

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
static Entry entry;
static void** buffers;

static void begin(unsigned lane) {
    threadIdx.x = lane;
    entry(buffers);
    current->done = true;
    _longjmp(scheduler, 1);
}

static void wait() {
    if (_setjmp(current->place) == 0) _longjmp(scheduler, 1);
}

// Lets a thread run up to the next barrier, or its end.
static void resume(Fiber& fiber) {
    current = &fiber;
    threadIdx.x = unsigned(&fiber - all.data());
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
            if (!all[lane].done) resume(all[lane]);
            done += all[lane].done;
        }
        if (done == threads) return;
        if (done > 0) fail("some threads of a block ended while others wait at a barrier", label);
    }
}
} // namespace fibers

void __syncthreads() { fibers::wait(); }

unsigned own_lane() { return (fibers::current - fibers::all.data()) % 32; }

// All threads of the block wait for each other, which is more than those of a warp do. What is handed over must stay where it
// is until everybody has it, so it is copied to one of two places that are used in turns.
const void* exchange(const void* mine, size_t bytes, unsigned other) {
    struct alignas(16) Value { char bytes[16]; };
    static std::vector<Value> places[2];
    unsigned thread = fibers::current - fibers::all.data();
    unsigned turn = fibers::current->turn++ % 2;
    if (places[turn].size() < fibers::all.size()) places[turn].resize(fibers::all.size());
    memcpy(places[turn][thread].bytes, mine, bytes);
    fibers::wait();
    return places[turn][thread / 32 * 32 + other].bytes;
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

// Reads memory and launches, runs them, and writes the memory back: `run memory steps`.
int main(int count, char** arguments) {
    if (count != 3) fail("expects a file of memory and a file of launches", arguments[0]);
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
        const Kernel& kernel = kernels[number];
        const uint32_t* grid = reader.words(3);
        uint32_t param_count = reader.word();
        struct alignas(16) Four { uint32_t words[4]; };
        std::vector<Four> params((param_count + 3) / 4);
        memcpy(params.data(), reader.words(param_count), param_count * 4);
        std::vector<void*> buffers{params.data()};
        for (uint32_t left = reader.word(); left > 0; left--) buffers.push_back(memory.data() + reader.word());
        fibers::entry = kernel.entry;
        fibers::buffers = buffers.data();
        for (unsigned z = 0; z < grid[2]; z++)
            for (unsigned y = 0; y < grid[1]; y++)
                for (unsigned x = 0; x < grid[0]; x++) {
                    blockIdx = {x, y, z};
                    fibers::run(kernel.threads, kernel.label);
                }
    }
    FILE* file = fopen(arguments[1], "wb");
    if (!file || fwrite(memory.data(), 4, memory.size(), file) != memory.size() || fclose(file) != 0)
        fail("cannot be written", arguments[1]);
    return 0;
}
