// Attention on tensor cores, without a stored matrix of scores. Included with definitions: PART, which kernel; HALF, the type of
// elements, and HALF_NAME, its name in PTX; WIDTH, numbers of a head, a multiple of 16; CAUSAL, 0 or 1.
//
// A block takes 64 rows, each of its four warps 16 of them, against tiles of columns in shared memory. Products are those of
// `mma.m16n8k16`. Of its factors lane 4g + t holds the rows g and g + 8 and the pairs of columns 2t and 2t + 8 (left side), and the
// column g with the pairs of rows 2t and 2t + 8 (right side); of sums it holds the rows g and g + 8 with the columns 2t and 2t + 1. So
// the sums of two products are the left side of the next, without leaving registers.

#define STRIDE (WIDTH + 8)
#if PART == 0
#define COLUMNS 64
#else
#define COLUMNS 32
#endif
#define STEPS (WIDTH / 16)
#define BLOCKS (COLUMNS / 8)
#define THREADS 128u
#define UNSEEN -3.0e38f
#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

#ifdef __CUDACC__
__device__ __forceinline__ void multiply(f32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." HALF_NAME "." HALF_NAME ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
                 "{%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// The right side for 16 columns: rows of the tile are columns.
__device__ __forceinline__ void take_rows(u32 (&b)[4], const u16* tile) {
    const u32 lane = threadIdx.x % 32u;
    const u16* at = tile + ((lane & 7u) + (lane >> 4u) * 8u) * STRIDE + (lane >> 3u & 1u) * 8u;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(u32(__cvta_generic_to_shared(at)))
                 : "memory");
}
// The same, where columns of the tile are columns.
__device__ __forceinline__ void take_columns(u32 (&b)[4], const u16* tile) {
    const u32 lane = threadIdx.x % 32u;
    const u16* at = tile + (lane & 15u) * STRIDE + (lane >> 4u) * 8u;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(u32(__cvta_generic_to_shared(at)))
                 : "memory");
}
__device__ __forceinline__ u32 pair(f32 low, f32 high) {
    u32 both;
    asm("cvt.rn." HALF_NAME "x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
#else
// Tests bring these for kernels that run as C++.
inline void multiply(f32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { warps::multiply<HALF>(c, a, b0, b1); }
inline void take_rows(u32 (&b)[4], const u16* tile) { warps::take_rows(b, tile, STRIDE); }
inline void take_columns(u32 (&b)[4], const u16* tile) { warps::take_columns(b, tile, STRIDE); }
inline u32 pair(f32 low, f32 high) { return u32(HALF(low).bits) | u32(HALF(high).bits) << 16; }
#endif

__device__ __forceinline__ f32 value(u32 bits) {
    HALF half;
    half.bits = u16(bits);
    return f32(half);
}

// Rows of one head that lie anywhere, each in one piece.
struct Rows {
    const u16* start;
    u32 step;
    __device__ __forceinline__ const u16* at(u32 row) const { return start + u64(row) * step; }
};

// The left side of products with whole rows: 16 rows from `row` on, of which those from `end` on are zeros.
__device__ __forceinline__ void take_left(u32 (&a)[STEPS][4], const Rows& from, u32 row, u32 end) {
    const u32 lane = threadIdx.x % 32u;
#pragma unroll
    for (u32 half = 0; half < 2u; half++) {
        const u32 mine = row + lane / 4u + half * 8u;
#pragma unroll
        for (u32 step = 0; step < STEPS; step++) {
            const u16* at = from.at(mine) + step * 16u + lane % 4u * 2u;
            a[step][half] = mine < end ? *(const u32*)at : 0u;
            a[step][half + 2u] = mine < end ? *(const u32*)(at + 8) : 0u;
        }
    }
}

// Brings the rows from `first` on into shared memory; those from `end` on are zeros.
__device__ __forceinline__ void bring(vec4<u32>* tile, const Rows& from, u32 first, u32 end) {
#pragma unroll
    for (u32 i = threadIdx.x; i < COLUMNS * WIDTH / 8u; i += THREADS) {
        const u32 row = i / (WIDTH / 8u), part = i % (WIDTH / 8u);
        vec4<u32> words(0u);
        if (first + row < end) words = *(const vec4<u32>*)(from.at(first + row) + part * 8u);
        tile[row * (STRIDE / 8u) + part] = words;
    }
}

// Products of the left side with the rows of a tile, added to sums.
__device__ __forceinline__ void score(f32 (&sums)[BLOCKS][4], const u32 (&a)[STEPS][4], const u16* tile) {
#pragma unroll
    for (u32 n = 0; n < BLOCKS / 2u; n++) {
#pragma unroll
        for (u32 step = 0; step < STEPS; step++) {
            u32 b[4];
            take_rows(b, tile + n * 16u * STRIDE + step * 16u);
            multiply(sums[2u * n], a[step], b[0], b[1]);
            multiply(sums[2u * n + 1u], a[step], b[2], b[3]);
        }
    }
}

// Adds the rows of a tile, each as often as weights say.
__device__ __forceinline__ void gather(f32 (&sums)[2 * STEPS][4], const f32 (&weights)[BLOCKS][4], const u16* tile) {
#pragma unroll
    for (u32 k = 0; k < BLOCKS / 2u; k++) {
        const u32 a[4] = {pair(weights[2u * k][0], weights[2u * k][1]), pair(weights[2u * k][2], weights[2u * k][3]),
                          pair(weights[2u * k + 1u][0], weights[2u * k + 1u][1]),
                          pair(weights[2u * k + 1u][2], weights[2u * k + 1u][3])};
#pragma unroll
        for (u32 n = 0; n < STEPS; n++) {
            u32 b[4];
            take_columns(b, tile + k * 16u * STRIDE + n * 16u);
            multiply(sums[2u * n], a, b[0], b[1]);
            multiply(sums[2u * n + 1u], a, b[2], b[3]);
        }
    }
}

// Stores rows, each times a factor.
__device__ __forceinline__ void put(u16* to, const f32 (&sums)[2 * STEPS][4], u32 row, u32 end, f32 first, f32 second) {
    const u32 lane = threadIdx.x % 32u;
#pragma unroll
    for (u32 half = 0; half < 2u; half++) {
        const u32 mine = row + lane / 4u + half * 8u;
        const f32 factor = half == 0u ? first : second;
        if (mine < end) {
#pragma unroll
            for (u32 n = 0; n < 2u * STEPS; n++)
                *(u32*)(to + u64(mine) * WIDTH + n * 8u + lane % 4u * 2u) =
                    pair(sums[n][half * 2u] * factor, sums[n][half * 2u + 1u] * factor);
        }
    }
}

// Of the four lanes that hold a row.
__device__ __forceinline__ f32 largest_of_row(f32 x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1u));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2u));
}
__device__ __forceinline__ f32 sum_of_row(f32 x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1u);
    return x + __shfl_xor_sync(0xffffffffu, x, 2u);
}

// Extents: batch times heads, queries, keys, and the factor of scores; heads of one of the batch; and of queries, keys, values and
// the gradient of the output the steps from one of the batch, one head and one row to the next.
typedef Parameters<5u> Extents;
__device__ __forceinline__ Rows rows_of(const Extents& extents, const u16* from, u32 which, u32 head) {
    const u32 heads = extents[1].x, first = 5u + which * 3u;
    const auto word = [&](u32 i) { return extents[i / 4u][i % 4u]; };
    return Rows{from + u64(head / heads) * word(first) + u64(head % heads) * word(first + 1u), word(first + 2u)};
}

#if PART == 0
// The output, and the logsumexp of each query's scores.
extern "C" __global__ void __launch_bounds__(THREADS) dropforge(
    const Extents extents, const u16* __restrict__ q, const u16* __restrict__ k, const u16* __restrict__ v, u16* __restrict__ output,
    f32* __restrict__ totals) {
    __shared__ vec4<u32> keys[COLUMNS * STRIDE / 8], values[COLUMNS * STRIDE / 8];
    const u32 heads = extents[0].x, t = extents[0].y, s = extents[0].z;
    const f32 scale = bitcast<f32>(extents[0].w) * LOG2_E;
    const i32 ahead = i32(s) - i32(t);
    const u32 head = blockIdx.x % heads, blocks = (t + 63u) / 64u, first = (blocks - 1u - blockIdx.x / heads) * 64u;
    const u32 lane = threadIdx.x % 32u, row = first + threadIdx.x / 32u * 16u;
    const Rows all_keys = rows_of(extents, k, 1u, head), all_values = rows_of(extents, v, 2u, head);
    u32 left[STEPS][4];
    take_left(left, rows_of(extents, q, 0u, head), row, t);
    f32 sums[2 * STEPS][4] = {};
    f32 largest[2] = {UNSEEN, UNSEEN}, total[2] = {0.f, 0.f};
    u32 end = s;
    if (CAUSAL) {
        const i32 last = i32(w_min(first + 63u, t - 1u)) + ahead + 1;
        end = last < 0 ? 0u : w_min(u32(last), s);
    }
    for (u32 start = 0; start < end; start += COLUMNS) {
        __syncthreads();
        bring(keys, all_keys, start, s);
        bring(values, all_values, start, s);
        __syncthreads();
        f32 scores[BLOCKS][4] = {};
        score(scores, left, (const u16*)keys);
        const bool hides = start + COLUMNS > s || (CAUSAL && i32(start + COLUMNS) - 1 > i32(first) + ahead);
        f32 top[2] = {UNSEEN, UNSEEN};
#pragma unroll
        for (u32 n = 0; n < BLOCKS; n++) {
#pragma unroll
            for (u32 i = 0; i < 4u; i++) {
                f32 x = scores[n][i] * scale;
                const u32 column = start + n * 8u + lane % 4u * 2u + i % 2u, mine = row + lane / 4u + i / 2u * 8u;
                if (hides && (column >= s || (CAUSAL && i32(column) > i32(mine) + ahead))) x = UNSEEN;
                scores[n][i] = x;
                top[i / 2u] = fmaxf(top[i / 2u], x);
            }
        }
        f32 shrink[2], base[2];
#pragma unroll
        for (u32 half = 0; half < 2u; half++) {
            const f32 now = fmaxf(largest[half], largest_of_row(top[half]));
            // While nothing was seen, nothing has a weight.
            base[half] = now == UNSEEN ? 0.f : now;
            shrink[half] = exp2f(largest[half] - base[half]);
            largest[half] = now;
            total[half] *= shrink[half];
        }
#pragma unroll
        for (u32 n = 0; n < BLOCKS; n++) {
#pragma unroll
            for (u32 i = 0; i < 4u; i++) {
                scores[n][i] = exp2f(scores[n][i] - base[i / 2u]);
                total[i / 2u] += scores[n][i];
            }
        }
#pragma unroll
        for (u32 n = 0; n < 2u * STEPS; n++) {
#pragma unroll
            for (u32 i = 0; i < 4u; i++) sums[n][i] *= shrink[i / 2u];
        }
        gather(sums, scores, (const u16*)values);
    }
    f32 factor[2];
#pragma unroll
    for (u32 half = 0; half < 2u; half++) {
        total[half] = sum_of_row(total[half]);
        // Queries that see nothing have sums of 0.
        factor[half] = total[half] == 0.f ? 1.f : 1.f / total[half];
        const u32 mine = row + lane / 4u + half * 8u;
        if (lane % 4u == 0u && mine < t) totals[head * t + mine] = (largest[half] + log2f(total[half])) * LN_2;
    }
    put(output + u64(head) * t * WIDTH, sums, row, t, factor[0], factor[1]);
}
#elif PART == 1
// The product of output and output gradient of each query.
extern "C" __global__ void __launch_bounds__(THREADS) dropforge(
    const Extents extents, const u16* __restrict__ output, const u16* __restrict__ gradient, f32* __restrict__ parts) {
    const u32 queries = extents[0].x * extents[0].y, t = extents[0].y;
    const u32 query = blockIdx.x * 4u + threadIdx.x / 32u, lane = threadIdx.x % 32u;
    f32 sum = 0.f;
    if (query < queries) {
        const u16* change = rows_of(extents, gradient, 3u, query / t).at(query % t);
        for (u32 i = lane * 2u; i < WIDTH; i += 64u) {
            const u32 a = *(const u32*)(output + u64(query) * WIDTH + i), b = *(const u32*)(change + i);
            sum = fmaf(value(a & 0xffffu), value(b & 0xffffu), fmaf(value(a >> 16), value(b >> 16), sum));
        }
    }
    for (u32 apart = 1u; apart < 32u; apart *= 2u) sum += __shfl_xor_sync(0xffffffffu, sum, apart);
    if (lane == 0u && query < queries) parts[query] = sum;
}
#elif PART == 2
// The gradient of queries.
extern "C" __global__ void __launch_bounds__(THREADS) dropforge(
    const Extents extents, const u16* __restrict__ q, const u16* __restrict__ k, const u16* __restrict__ v,
    const f32* __restrict__ totals, const u16* __restrict__ gradient, const f32* __restrict__ parts, u16* __restrict__ of_q) {
    __shared__ vec4<u32> keys[COLUMNS * STRIDE / 8], values[COLUMNS * STRIDE / 8];
    const u32 heads = extents[0].x, t = extents[0].y, s = extents[0].z;
    const f32 scale = bitcast<f32>(extents[0].w);
    const i32 ahead = i32(s) - i32(t);
    const u32 head = blockIdx.x % heads, blocks = (t + 63u) / 64u, first = (blocks - 1u - blockIdx.x / heads) * 64u;
    const u32 lane = threadIdx.x % 32u, row = first + threadIdx.x / 32u * 16u;
    const Rows all_keys = rows_of(extents, k, 1u, head), all_values = rows_of(extents, v, 2u, head);
    u32 left[STEPS][4], changes[STEPS][4];
    take_left(left, rows_of(extents, q, 0u, head), row, t);
    take_left(changes, rows_of(extents, gradient, 3u, head), row, t);
    f32 total[2], part[2];
#pragma unroll
    for (u32 half = 0; half < 2u; half++) {
        const u32 mine = head * t + w_min(row + lane / 4u + half * 8u, t - 1u);
        total[half] = totals[mine] * LOG2_E;
        part[half] = parts[mine];
    }
    f32 sums[2 * STEPS][4] = {};
    u32 end = s;
    if (CAUSAL) {
        const i32 last = i32(w_min(first + 63u, t - 1u)) + ahead + 1;
        end = last < 0 ? 0u : w_min(u32(last), s);
    }
    for (u32 start = 0; start < end; start += COLUMNS) {
        __syncthreads();
        bring(keys, all_keys, start, s);
        bring(values, all_values, start, s);
        __syncthreads();
        f32 scores[BLOCKS][4] = {}, pulls[BLOCKS][4] = {};
        score(scores, left, (const u16*)keys);
        score(pulls, changes, (const u16*)values);
#pragma unroll
        for (u32 n = 0; n < BLOCKS; n++) {
#pragma unroll
            for (u32 i = 0; i < 4u; i++) {
                const u32 column = start + n * 8u + lane % 4u * 2u + i % 2u, mine = row + lane / 4u + i / 2u * 8u;
                const bool hidden = column >= s || (CAUSAL && i32(column) > i32(mine) + ahead);
                const f32 weight = exp2f(scores[n][i] * (scale * LOG2_E) - total[i / 2u]);
                scores[n][i] = hidden ? 0.f : weight * (pulls[n][i] - part[i / 2u]) * scale;
            }
        }
        gather(sums, scores, (const u16*)keys);
    }
    put(of_q + u64(head) * t * WIDTH, sums, row, t, 1.f, 1.f);
}
#else
// The gradients of keys and values, whose rows are keys.
extern "C" __global__ void __launch_bounds__(THREADS) dropforge(
    const Extents extents, const u16* __restrict__ q, const u16* __restrict__ k, const u16* __restrict__ v,
    const f32* __restrict__ totals, const u16* __restrict__ gradient, const f32* __restrict__ parts, u16* __restrict__ of_k,
    u16* __restrict__ of_v) {
    __shared__ vec4<u32> queries[COLUMNS * STRIDE / 8], changes[COLUMNS * STRIDE / 8];
    const u32 heads = extents[0].x, t = extents[0].y, s = extents[0].z;
    const f32 scale = bitcast<f32>(extents[0].w);
    const i32 ahead = i32(s) - i32(t);
    const u32 head = blockIdx.x % heads, first = blockIdx.x / heads * 64u;
    const u32 lane = threadIdx.x % 32u, row = first + threadIdx.x / 32u * 16u;
    const Rows all_queries = rows_of(extents, q, 0u, head), all_changes = rows_of(extents, gradient, 3u, head);
    const u64 of_keys = u64(head) * s * WIDTH;
    u32 left[STEPS][4], right[STEPS][4];
    take_left(left, rows_of(extents, k, 1u, head), row, s);
    take_left(right, rows_of(extents, v, 2u, head), row, s);
    f32 key_sums[2 * STEPS][4] = {}, value_sums[2 * STEPS][4] = {};
    // The first query that sees the first key of this block.
    u32 start = 0;
    if (CAUSAL && i32(first) > ahead) start = u32(i32(first) - ahead);
    for (; start < t; start += COLUMNS) {
        __syncthreads();
        bring(queries, all_queries, start, t);
        bring(changes, all_changes, start, t);
        __syncthreads();
        f32 scores[BLOCKS][4] = {}, pulls[BLOCKS][4] = {};
        score(scores, left, (const u16*)queries);
        score(pulls, right, (const u16*)changes);
#pragma unroll
        for (u32 n = 0; n < BLOCKS; n++) {
#pragma unroll
            for (u32 i = 0; i < 4u; i++) {
                const u32 column = start + n * 8u + lane % 4u * 2u + i % 2u, mine = row + lane / 4u + i / 2u * 8u;
                const u32 query = head * t + w_min(column, t - 1u);
                const bool hidden = column >= t || (CAUSAL && i32(mine) > i32(column) + ahead);
                const f32 weight = exp2f(scores[n][i] * (scale * LOG2_E) - totals[query] * LOG2_E);
                scores[n][i] = hidden ? 0.f : weight;
                pulls[n][i] = hidden ? 0.f : weight * (pulls[n][i] - parts[query]) * scale;
            }
        }
        gather(value_sums, scores, (const u16*)changes);
        gather(key_sums, pulls, (const u16*)queries);
    }
    put(of_k + of_keys, key_sums, row, s, 1.f, 1.f);
    put(of_v + of_keys, value_sums, row, s, 1.f, 1.f);
}
#endif
