// Cooperative matrices of 16 by 16 on tensor cores. `T` at the end of a name means rows; without it, columns.

enum Role { A, B, C };
template <class T, Role R> struct coop_mat16x16 {};
template <> struct coop_mat16x16<f32, C> {
    f32 items[8];
    __device__ __forceinline__ coop_mat16x16() : items{0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f} {}
};
template <class T> struct Words;
template <> struct Words<f16> { static constexpr int count = 8; };
template <> struct Words<bf16> { static constexpr int count = 4; };
// A factor as lanes hold it; how it lay in memory is part of the type.
template <class T, Role R, bool ROWS> struct Factor { u32 items[Words<T>::count]; };

__device__ __forceinline__ u32 shared_address(const void* at) { return u32(__cvta_generic_to_shared(at)); }
template <class T> struct InMemory { static constexpr u32 wide = 1; };
template <class T> struct InMemory<vec4<T>> { static constexpr u32 wide = 4; };

#define DF_LOAD8(LETTER, LAYOUT)                                                                                       \
    asm volatile("wmma.load." LETTER ".sync.aligned." LAYOUT ".m16n16k16.shared.f16 {%0,%1,%2,%3,%4,%5,%6,%7}, [%8], %9;" \
        : "=r"(m.items[0]), "=r"(m.items[1]), "=r"(m.items[2]), "=r"(m.items[3]),                                      \
          "=r"(m.items[4]), "=r"(m.items[5]), "=r"(m.items[6]), "=r"(m.items[7])                                       \
        : "r"(at), "r"(stride) : "memory")
#define DF_LOAD4(LETTER, LAYOUT)                                                                                       \
    asm volatile("wmma.load." LETTER ".sync.aligned." LAYOUT ".m16n16k16.shared.bf16 {%0,%1,%2,%3}, [%4], %5;"        \
        : "=r"(m.items[0]), "=r"(m.items[1]), "=r"(m.items[2]), "=r"(m.items[3]) : "r"(at), "r"(stride) : "memory")
#define DF_LOADS(ROLE, LETTER, ROWS, LAYOUT)                                                                           \
    __device__ __forceinline__ void load(Factor<f16, ROLE, ROWS>& m, u32 at, u32 stride) { DF_LOAD8(LETTER, LAYOUT); } \
    __device__ __forceinline__ void load(Factor<bf16, ROLE, ROWS>& m, u32 at, u32 stride) { DF_LOAD4(LETTER, LAYOUT); }
DF_LOADS(A, "a", true, "row")
DF_LOADS(A, "a", false, "col")
DF_LOADS(B, "b", true, "row")
DF_LOADS(B, "b", false, "col")

template <class M> struct Loaded;
template <class T, Role R> struct Loaded<coop_mat16x16<T, R>> {
    template <bool ROWS> using As = Factor<T, R, ROWS>;
};
template <class M, class E>
__device__ __forceinline__ typename Loaded<M>::template As<true> coopLoadT(const E* at, u32 stride) {
    typename Loaded<M>::template As<true> m;
    load(m, shared_address(at), stride * InMemory<E>::wide);
    return m;
}
template <class M, class E>
__device__ __forceinline__ typename Loaded<M>::template As<false> coopLoad(const E* at, u32 stride) {
    typename Loaded<M>::template As<false> m;
    load(m, shared_address(at), stride * InMemory<E>::wide);
    return m;
}

#define DF_MULTIPLY(ROWS_A, LAYOUT_A, ROWS_B, LAYOUT_B)                                                                \
    __device__ __forceinline__ coop_mat16x16<f32, C> coopMultiplyAdd(                                                  \
        const Factor<f16, A, ROWS_A>& a, const Factor<f16, B, ROWS_B>& b, coop_mat16x16<f32, C> c) {                   \
        asm volatile("wmma.mma.sync.aligned." LAYOUT_A "." LAYOUT_B ".m16n16k16.f32.f32 "                              \
            "{%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9,%10,%11,%12,%13,%14,%15}, {%16,%17,%18,%19,%20,%21,%22,%23}, "          \
            "{%0,%1,%2,%3,%4,%5,%6,%7};"                                                                               \
            : "+f"(c.items[0]), "+f"(c.items[1]), "+f"(c.items[2]), "+f"(c.items[3]),                                  \
              "+f"(c.items[4]), "+f"(c.items[5]), "+f"(c.items[6]), "+f"(c.items[7])                                   \
            : "r"(a.items[0]), "r"(a.items[1]), "r"(a.items[2]), "r"(a.items[3]),                                      \
              "r"(a.items[4]), "r"(a.items[5]), "r"(a.items[6]), "r"(a.items[7]),                                      \
              "r"(b.items[0]), "r"(b.items[1]), "r"(b.items[2]), "r"(b.items[3]),                                      \
              "r"(b.items[4]), "r"(b.items[5]), "r"(b.items[6]), "r"(b.items[7]));                                     \
        return c;                                                                                                      \
    }                                                                                                                  \
    __device__ __forceinline__ coop_mat16x16<f32, C> coopMultiplyAdd(                                                  \
        const Factor<bf16, A, ROWS_A>& a, const Factor<bf16, B, ROWS_B>& b, coop_mat16x16<f32, C> c) {                 \
        asm volatile("wmma.mma.sync.aligned." LAYOUT_A "." LAYOUT_B ".m16n16k16.f32.bf16.bf16.f32 "                    \
            "{%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9,%10,%11}, {%12,%13,%14,%15}, {%0,%1,%2,%3,%4,%5,%6,%7};"                \
            : "+f"(c.items[0]), "+f"(c.items[1]), "+f"(c.items[2]), "+f"(c.items[3]),                                  \
              "+f"(c.items[4]), "+f"(c.items[5]), "+f"(c.items[6]), "+f"(c.items[7])                                   \
            : "r"(a.items[0]), "r"(a.items[1]), "r"(a.items[2]), "r"(a.items[3]),                                      \
              "r"(b.items[0]), "r"(b.items[1]), "r"(b.items[2]), "r"(b.items[3]));                                     \
        return c;                                                                                                      \
    }
DF_MULTIPLY(true, "row", true, "row")
DF_MULTIPLY(true, "row", false, "col")
DF_MULTIPLY(false, "col", true, "row")
DF_MULTIPLY(false, "col", false, "col")

template <class E> __device__ __forceinline__ void coopStoreT(const coop_mat16x16<f32, C>& m, E* to, u32 stride) {
    asm volatile("wmma.store.d.sync.aligned.row.m16n16k16.shared.f32 [%0], {%1,%2,%3,%4,%5,%6,%7,%8}, %9;"
        :: "r"(shared_address(to)), "f"(m.items[0]), "f"(m.items[1]), "f"(m.items[2]), "f"(m.items[3]),
           "f"(m.items[4]), "f"(m.items[5]), "f"(m.items[6]), "f"(m.items[7]), "r"(stride * InMemory<E>::wide)
        : "memory");
}
