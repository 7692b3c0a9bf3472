// Cooperative matrices as every lane holding all of each: slow, and the same numbers.
enum Role { A, B, C };
template <class T, Role R> struct coop_mat16x16 {};
template <> struct coop_mat16x16<f32, C> {
    f32 items[16][16] = {};
};
template <class T, Role R> struct Factor { f32 items[16][16]; };
template <class T> f32 element(const T* at, u32 i) { return f32(at[i]); }
template <class T> f32 element(const vec4<T>* at, u32 i) { return f32(at[i / 4][i % 4]); }
template <class T> struct InMemory { static constexpr u32 wide = 1; };
template <class T> struct InMemory<vec4<T>> { static constexpr u32 wide = 4; };
template <class M> struct Loaded;
template <class T, Role R> struct Loaded<coop_mat16x16<T, R>> { typedef Factor<T, R> type; };
template <class M, class E> typename Loaded<M>::type coopLoadT(const E* at, u32 stride) {
    typename Loaded<M>::type m;
    for (u32 i = 0; i < 16; i++)
        for (u32 j = 0; j < 16; j++) m.items[i][j] = element(at, i * stride * InMemory<E>::wide + j);
    return m;
}
template <class M, class E> typename Loaded<M>::type coopLoad(const E* at, u32 stride) {
    typename Loaded<M>::type m;
    for (u32 i = 0; i < 16; i++)
        for (u32 j = 0; j < 16; j++) m.items[i][j] = element(at, j * stride * InMemory<E>::wide + i);
    return m;
}
template <class T>
coop_mat16x16<f32, C> coopMultiplyAdd(const Factor<T, A>& a, const Factor<T, B>& b, coop_mat16x16<f32, C> c) {
    for (u32 i = 0; i < 16; i++)
        for (u32 k = 0; k < 16; k++)
            for (u32 j = 0; j < 16; j++) c.items[i][j] += a.items[i][k] * b.items[k][j];
    return c;
}
template <class E> void coopStoreT(const coop_mat16x16<f32, C>& m, E* to, u32 stride) {
    for (u32 i = 0; i < 16; i++)
        for (u32 j = 0; j < 16; j++) ((f32*)to)[i * stride * InMemory<E>::wide + j] = m.items[i][j];
}
