// What translated kernels use: the types and functions of WGSL by their names, in CUDA C without any header.

typedef unsigned int u32;
typedef int i32;
typedef float f32;
typedef unsigned short u16;
typedef unsigned long long u64;

template <class To, class From> __device__ __forceinline__ To bitcast(const From& from) {
    static_assert(sizeof(To) == sizeof(From), "sizes differ");
    To to;
    memcpy(&to, &from, sizeof(To));
    return to;
}

// Conversions of halves round to the nearest, ties to even. Where kernels run as C++ for tests, that brings them.
#ifdef __CUDACC__
__device__ __forceinline__ u16 f16_bits(f32 x) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
__device__ __forceinline__ f32 f16_value(u16 bits) {
    f32 x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
__device__ __forceinline__ u16 bf16_bits(f32 x) {
#if __CUDA_ARCH__ >= 800
    u16 converted;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(converted) : "f"(x));
    return converted;
#else
    u32 bits = bitcast<u32>(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return u16(bits >> 16 | 0x40u);
    return u16((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
#endif
}
#endif

// Half types are their bits.
struct f16 {
    u16 bits;
    f16() = default;
    __device__ __forceinline__ explicit f16(f32 x) : bits(f16_bits(x)) {}
    __device__ __forceinline__ explicit operator f32() const { return f16_value(bits); }
};

struct bf16 {
    u16 bits;
    bf16() = default;
    __device__ __forceinline__ explicit bf16(f32 x) : bits(bf16_bits(x)) {}
    __device__ __forceinline__ explicit operator f32() const { return bitcast<f32>(u32(bits) << 16); }
};

template <class T> struct alignas(2 * sizeof(T)) vec2 {
    T x, y;
    vec2() = default;
    __device__ __forceinline__ explicit vec2(T all) : x(all), y(all) {}
    __device__ __forceinline__ vec2(T x, T y) : x(x), y(y) {}
    __device__ __forceinline__ T& operator[](u32 i) { return (&x)[i]; }
    __device__ __forceinline__ const T& operator[](u32 i) const { return (&x)[i]; }
};

template <class T> struct vec3 {
    T x, y, z;
    vec3() = default;
    __device__ __forceinline__ explicit vec3(T all) : x(all), y(all), z(all) {}
    __device__ __forceinline__ vec3(T x, T y, T z) : x(x), y(y), z(z) {}
    __device__ __forceinline__ T& operator[](u32 i) { return (&x)[i]; }
    __device__ __forceinline__ const T& operator[](u32 i) const { return (&x)[i]; }
};

template <class T> struct alignas(4 * sizeof(T)) vec4 {
    T x, y, z, w;
    vec4() = default;
    __device__ __forceinline__ explicit vec4(f32 all) : x(T(all)), y(T(all)), z(T(all)), w(T(all)) {}
    __device__ __forceinline__ explicit vec4(u32 all) : x(T(all)), y(T(all)), z(T(all)), w(T(all)) {}
    __device__ __forceinline__ vec4(T x, T y, T z, T w) : x(x), y(y), z(z), w(w) {}
    template <class U>
    __device__ __forceinline__ explicit vec4(const vec4<U>& v) : x(T(v.x)), y(T(v.y)), z(T(v.z)), w(T(v.w)) {}
    __device__ __forceinline__ T& operator[](u32 i) { return (&x)[i]; }
    __device__ __forceinline__ const T& operator[](u32 i) const { return (&x)[i]; }
};

#define DF_BINARY(OP)                                                                                                  \
    template <class T> __device__ __forceinline__ vec2<T> operator OP(const vec2<T>& a, const vec2<T>& b) {            \
        return vec2<T>(a.x OP b.x, a.y OP b.y);                                                                        \
    }                                                                                                                  \
    template <class T> __device__ __forceinline__ vec3<T> operator OP(const vec3<T>& a, const vec3<T>& b) {            \
        return vec3<T>(a.x OP b.x, a.y OP b.y, a.z OP b.z);                                                            \
    }                                                                                                                  \
    template <class T> __device__ __forceinline__ vec4<T> operator OP(const vec4<T>& a, const vec4<T>& b) {            \
        return vec4<T>(a.x OP b.x, a.y OP b.y, a.z OP b.z, a.w OP b.w);                                                \
    }                                                                                                                  \
    template <class T> __device__ __forceinline__ vec4<T> operator OP(const vec4<T>& a, T b) {                         \
        return vec4<T>(a.x OP b, a.y OP b, a.z OP b, a.w OP b);                                                        \
    }                                                                                                                  \
    template <class T> __device__ __forceinline__ vec4<T> operator OP(T a, const vec4<T>& b) {                         \
        return vec4<T>(a OP b.x, a OP b.y, a OP b.z, a OP b.w);                                                        \
    }                                                                                                                  \
    template <class T> __device__ __forceinline__ vec4<T>& operator OP##=(vec4<T>& a, const vec4<T>& b) {              \
        return a = a OP b;                                                                                             \
    }                                                                                                                  \
    template <class T> __device__ __forceinline__ vec4<T>& operator OP##=(vec4<T>& a, T b) { return a = a OP b; }      \
    template <class T> __device__ __forceinline__ vec2<T>& operator OP##=(vec2<T>& a, const vec2<T>& b) {              \
        return a = a OP b;                                                                                             \
    }
DF_BINARY(+)
DF_BINARY(-)
DF_BINARY(*)
DF_BINARY(/)
DF_BINARY(^)
#undef DF_BINARY

template <class T> __device__ __forceinline__ vec4<T> operator-(const vec4<T>& a) {
    return vec4<T>(-a.x, -a.y, -a.z, -a.w);
}

template <class T, u32 N> struct array {
    T items[N];
    __device__ __forceinline__ T& operator[](u32 i) { return items[i]; }
    __device__ __forceinline__ const T& operator[](u32 i) const { return items[i]; }
};

// Parameters of a kernel, in constant memory.
template <u32 N> struct Parameters {
    vec4<u32> items[N];
    __device__ __forceinline__ const vec4<u32>& operator[](u32 i) const { return items[i]; }
};

__device__ __forceinline__ f32 w_min(f32 a, f32 b) { return fminf(a, b); }
__device__ __forceinline__ f32 w_max(f32 a, f32 b) { return fmaxf(a, b); }
__device__ __forceinline__ u32 w_min(u32 a, u32 b) { return a < b ? a : b; }
__device__ __forceinline__ u32 w_max(u32 a, u32 b) { return a > b ? a : b; }
__device__ __forceinline__ i32 w_min(i32 a, i32 b) { return a < b ? a : b; }
__device__ __forceinline__ i32 w_max(i32 a, i32 b) { return a > b ? a : b; }
template <class T> __device__ __forceinline__ T w_clamp(T x, T low, T high) { return w_min(w_max(x, low), high); }
__device__ __forceinline__ f32 w_abs(f32 x) { return fabsf(x); }
__device__ __forceinline__ i32 w_abs(i32 x) { return x < 0 ? i32(0u - u32(x)) : x; }
__device__ __forceinline__ u32 w_abs(u32 x) { return x; }
__device__ __forceinline__ i32 w_sign(i32 x) { return (x > 0) - (x < 0); }
__device__ __forceinline__ f32 w_floor(f32 x) { return floorf(x); }
__device__ __forceinline__ f32 w_ceil(f32 x) { return ceilf(x); }
__device__ __forceinline__ f32 w_round(f32 x) { return rintf(x); }
__device__ __forceinline__ f32 w_trunc(f32 x) { return truncf(x); }
__device__ __forceinline__ f32 w_sqrt(f32 x) { return sqrtf(x); }
__device__ __forceinline__ f32 w_fma(f32 a, f32 b, f32 c) { return fmaf(a, b, c); }
__device__ __forceinline__ f32 w_dot(const vec4<f32>& a, const vec4<f32>& b) {
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, a.x * b.x)));
}
#define DF_FOUR(NAME)                                                                                                  \
    template <class T> __device__ __forceinline__ vec4<T> NAME(const vec4<T>& a, const vec4<T>& b) {                   \
        return vec4<T>(NAME(a.x, b.x), NAME(a.y, b.y), NAME(a.z, b.z), NAME(a.w, b.w));                                \
    }
DF_FOUR(w_min)
DF_FOUR(w_max)
#undef DF_FOUR
__device__ __forceinline__ vec4<f32> w_fma(const vec4<f32>& a, const vec4<f32>& b, const vec4<f32>& c) {
    return vec4<f32>(fmaf(a.x, b.x, c.x), fmaf(a.y, b.y, c.y), fmaf(a.z, b.z, c.z), fmaf(a.w, b.w, c.w));
}
// As accurate as what is printed elsewhere: below 3 units in the last place.
__device__ __forceinline__ f32 f_exp(f32 x) { return expf(x); }
__device__ __forceinline__ f32 f_sigmoid(f32 x) {
    const f32 power = expf(-fabsf(x)), above = x >= 0.f ? 1.f : power;
#ifdef __CUDACC__
    return __fdividef(above, 1.f + power);
#else
    return above / (1.f + power);
#endif
}
template <class T> __device__ __forceinline__ T w_select(T no, T yes, bool condition) { return condition ? yes : no; }

__device__ __forceinline__ void workgroupBarrier() { __syncthreads(); }
__device__ __forceinline__ void storageBarrier() { __threadfence_block(); }
template <class T> __device__ __forceinline__ T subgroupShuffleXor(T x, u32 mask) {
    return __shfl_xor_sync(0xffffffffu, x, mask);
}
template <class T> __device__ __forceinline__ T subgroupShuffle(T x, u32 lane) {
    return __shfl_sync(0xffffffffu, x, lane);
}
// Lanes exchange vectors one number at a time.
#define DF_SHUFFLE(NAME)                                                                                               \
    template <class T> __device__ __forceinline__ vec2<T> NAME(vec2<T> v, u32 lane) {                                  \
        return vec2<T>(NAME(v.x, lane), NAME(v.y, lane));                                                              \
    }                                                                                                                  \
    template <class T> __device__ __forceinline__ vec3<T> NAME(vec3<T> v, u32 lane) {                                  \
        return vec3<T>(NAME(v.x, lane), NAME(v.y, lane), NAME(v.z, lane));                                             \
    }                                                                                                                  \
    template <class T> __device__ __forceinline__ vec4<T> NAME(vec4<T> v, u32 lane) {                                  \
        return vec4<T>(NAME(v.x, lane), NAME(v.y, lane), NAME(v.z, lane), NAME(v.w, lane));                            \
    }
DF_SHUFFLE(subgroupShuffleXor)
DF_SHUFFLE(subgroupShuffle)
#undef DF_SHUFFLE

template <class T> using atomic = T;
__device__ __forceinline__ void w_atomicStore(u32* at, u32 value) { *(volatile u32*)at = value; }
__device__ __forceinline__ u32 w_atomicLoad(u32* at) { return *(volatile u32*)at; }
__device__ __forceinline__ u32 w_atomicAdd(u32* at, u32 value) { return atomicAdd(at, value); }
