// The products of `mma.m16n8k16` and the loads of `ldmatrix`, by what each lane holds.
namespace warps {
template <class H> f32 half_of(u32 bits, u32 which) {
    H half;
    half.bits = u16(bits >> which * 16u);
    return f32(half);
}
struct Factors {
    u32 a[4], b[2];
};
template <class H> void multiply(f32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    static Factors all[1024];
    Factors& mine = all[threadIdx.x];
    for (u32 i = 0; i < 4; i++) mine.a[i] = a[i];
    mine.b[0] = b0;
    mine.b[1] = b1;
    __syncthreads();
    const Factors* warp = all + threadIdx.x / 32 * 32;
    u32 lane = threadIdx.x % 32;
    for (u32 i = 0; i < 4; i++) {
        u32 row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (u32 k = 0; k < 16; k++) {
            f32 left = half_of<H>(warp[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], k % 2);
            f32 right = half_of<H>(warp[column * 4 + k % 8 / 2].b[k / 8], k % 2);
            c[i] += left * right;
        }
    }
    __syncthreads();
}
inline void take_rows(u32 (&b)[4], const u16* tile, u32 stride) {
    u32 lane = threadIdx.x % 32;
    for (u32 i = 0; i < 4; i++) {
        const u16* at = tile + (lane / 4 + i / 2 * 8) * stride + lane % 4 * 2 + i % 2 * 8;
        b[i] = u32(at[0]) | u32(at[1]) << 16;
    }
}
inline void take_columns(u32 (&b)[4], const u16* tile, u32 stride) {
    u32 lane = threadIdx.x % 32;
    for (u32 i = 0; i < 4; i++) {
        const u16* at = tile + (lane % 4 * 2 + i % 2 * 8) * stride + lane / 4 + i / 2 * 8;
        b[i] = u32(at[0]) | u32(at[stride]) << 16;
    }
}
} // namespace warps
