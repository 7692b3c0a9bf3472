// Functions that WGSL lacks, or has with less accuracy than training needs. Each stands alone after a blank line and
// is printed only where it is used, with what it calls. Measured against f64 over their ranges:
// exp, expm1, log, log1p, tanh, sigmoid, erf: below 3 units in the last place;
// sin, cos: below 2e-7 absolute for arguments up to 1e4, growing with the argument beyond;
// pow: below 8 units; rem: exact for normal numbers. Subnormal numbers may count as zero, as devices flush them.
// WGSL has no literal for infinity and NaN, and may assume that neither occurs: they are made and asked for by bits.

fn f_bits(bits: u32) -> f32 { return bitcast<f32>(bits); }

fn f_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }

fn f_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }

// Comparisons that are false on NaN. Compilers may take it that none occurs, and turn a comparison round.
fn f_ordered(a: f32, b: f32) -> bool {
    return max(bitcast<u32>(a) & 0x7fffffffu, bitcast<u32>(b) & 0x7fffffffu) <= 0x7f800000u;
}

fn f_equal(a: f32, b: f32) -> bool { return f_ordered(a, b) && a == b; }

fn f_less(a: f32, b: f32) -> bool { return f_ordered(a, b) && a < b; }

fn f_at_most(a: f32, b: f32) -> bool { return f_ordered(a, b) && a <= b; }

fn f_scale(x: f32, n: i32) -> f32 {
    let half = n >> 1u;
    return x * bitcast<f32>(u32(half + 127) << 23u) * bitcast<f32>(u32(n - half + 127) << 23u);
}

// e^r - 1 for |r| up to ln(2) / 2.
fn f_exp_near(r: f32) -> f32 {
    let q = fma(r, fma(r, fma(r, fma(r, fma(r, 0.00019917107, 0.0013947284), 0.008333267), 0.041666254), 0.16666667), 0.5);
    return fma(r * r, q, r);
}

// The same number, hidden from compilers that would join what stands apart for a reason; its last bits must be 0.
fn f_opaque(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) & 0xfffffffeu); }

// x less n ln(2); the first part of ln(2) is so short that its product with n is exact.
fn f_exp_rest(x: f32, n: f32) -> f32 { return fma(n, 2.1219444e-4, x - f_opaque(n * 0.693359375)); }

fn f_exp(x: f32) -> f32 {
    if (f_nan(x)) { return x; }
    let c = clamp(x, -104.0, 89.0);
    let n = round(c * 1.44269504);
    return f_scale(1.0 + f_exp_near(f_exp_rest(c, n)), i32(n));
}

fn f_expm1(x: f32) -> f32 {
    if (f_nan(x) || x > 60.0) { return f_exp(x); }
    let c = max(x, -20.0);
    let n = round(c * 1.44269504);
    let power = bitcast<f32>(u32(i32(n) + 127) << 23u);
    return fma(power, f_exp_near(f_exp_rest(c, n)), power - 1.0);
}

// ln(1 + f) for 1 + f between the roots of 1/2 and 2.
fn f_log_near(f: f32) -> f32 {
    var q = fma(f, 0.06917642, -0.11832859);
    q = fma(f, q, 0.11894172);
    q = fma(f, q, -0.12378786);
    q = fma(f, q, 0.1421528);
    q = fma(f, q, -0.16669448);
    q = fma(f, q, 0.20002387);
    q = fma(f, q, -0.24999985);
    q = fma(f, q, 0.33333308);
    let s = f * f;
    return f + fma(f * s, q, -0.5 * s);
}

// x = m 2^e with m between the roots of 1/2 and 2, for finite x above 0.
fn f_split(x: f32) -> vec2<f32> {
    var bits = bitcast<u32>(x);
    var e = -127;
    if (bits < 0x00800000u) { bits = bitcast<u32>(x * 8388608.0); e = -150; }
    e += i32(bits >> 23u);
    var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f800000u);
    if (m > 1.41421356) { m *= 0.5; e += 1; }
    return vec2<f32>(m, f32(e));
}

fn f_log(x: f32) -> f32 {
    if (f_nan(x) || bitcast<u32>(x) == 0x7f800000u) { return x; }
    if (x < 0.0) { return f_bits(0x7fc00000u); }
    if (x == 0.0) { return f_bits(0xff800000u); }
    let p = f_split(x);
    return fma(p.y, 0.693359375, fma(p.y, -2.1219444e-4, f_log_near(p.x - 1.0)));
}

fn f_log1p(x: f32) -> f32 {
    if (x > -0.29 && x < 0.41) { return f_log_near(x); }
    return f_log(1.0 + x);
}

fn f_tanh(x: f32) -> f32 {
    if (f_nan(x)) { return x; }
    let a = abs(x);
    if (a < 0.6) {
        let t = x * x;
        var q = fma(t, 0.0022310524, -0.008267079);
        q = fma(t, q, 0.021734435);
        q = fma(t, q, -0.053952474);
        q = fma(t, q, 0.13333248);
        q = fma(t, q, -0.3333333);
        return fma(x * t, q, x);
    }
    let y = 1.0 - 2.0 / (f_exp(2.0 * min(a, 20.0)) + 1.0);
    return select(y, -y, x < 0.0);
}

fn f_sigmoid(x: f32) -> f32 {
    if (f_nan(x)) { return x; }
    // Of the smaller power, so that far below 0 it becomes 0 and not the reciprocal of the largest power.
    let power = f_exp(-abs(x));
    return select(power, 1.0, x >= 0.0) / (1.0 + power);
}

fn f_erf(x: f32) -> f32 {
    if (f_nan(x)) { return x; }
    let a = abs(x);
    if (a < 1.0) {
        let t = x * x;
        var q = fma(t, -9.680126e-6, 0.000112705406);
        q = fma(t, q, -0.00084847107);
        q = fma(t, q, 0.005221075);
        q = fma(t, q, -0.026865445);
        q = fma(t, q, 0.11283783);
        q = fma(t, q, -0.37612638);
        return x * fma(t, q, 1.1283792);
    }
    var y = 1.0;
    if (a < 4.0) {
        let t = 1.0 / fma(0.5, a, 1.0);
        var q = fma(t, -0.030729515, 0.25592053);
        q = fma(t, q, -0.7351352);
        q = fma(t, q, 0.85295546);
        q = fma(t, q, -0.30110982);
        q = fma(t, q, 0.43344802);
        q = fma(t, q, 0.23661672);
        q = fma(t, q, 0.28844243);
        q = fma(t, q, -0.00038907147);
        y = 1.0 - f_exp(-a * a) * q;
    }
    return select(y, -y, x < 0.0);
}

// sin(x + quarter pi / 2).
fn f_wave(x: f32, quarter: i32) -> f32 {
    if (!f_finite(x)) { return f_bits(0x7fc00000u); }
    let n = round(clamp(x * 0.63661977, -1e9, 1e9));
    let r = ((x - f_opaque(n * 1.5703125)) - f_opaque(n * 0.000483751297)) - n * 7.5495336e-8;
    let k = i32(n) + quarter;
    let t = r * r;
    var y = 0.0;
    if ((k & 1) == 0) {
        y = fma(r * t, fma(t, fma(t, fma(t, 2.717564e-6, -0.00019839256), 0.008333329), -0.16666667), r);
    } else {
        y = fma(t * t, fma(t, fma(t, fma(t, -2.72033e-7, 2.4799436e-5), -0.0013888883), 0.041666668), fma(-0.5, t, 1.0));
    }
    return select(y, -y, (k & 2) != 0);
}

fn f_sqrt(x: f32) -> f32 {
    if (x < 0.0) { return f_bits(0x7fc00000u); }
    if (!f_finite(x) || x == 0.0) { return x; }
    return sqrt(x);
}

fn f_rsqrt(x: f32) -> f32 { return 1.0 / f_sqrt(x); }

fn f_sign(x: f32) -> f32 {
    if (f_nan(x)) { return x; }
    if (x > 0.0) { return 1.0; }
    if (x < 0.0) { return -1.0; }
    return x;
}

fn f_relu(x: f32) -> f32 { return select(select(x, 0.0, x <= 0.0), x, f_nan(x)); }

// The nearest quotient: devices may be some units off, one step of refinement mends that.
fn f_div(a: f32, b: f32) -> f32 {
    // By bits: a compiler that knows the divisor may take the quotient for 0, and fast math takes NaN for equal to 0.
    if ((bitcast<u32>(b) & 0x7fffffffu) == 0u) {
        let sign = (bitcast<u32>(a) ^ bitcast<u32>(b)) & 0x80000000u;
        let is_zero = (bitcast<u32>(a) & 0x7fffffffu) == 0u;
        return f_bits(select(0x7f800000u | sign, 0x7fc00000u, f_nan(a) || is_zero));
    }
    let q = a / b;
    if (!f_finite(q) || q == 0.0) { return q; }
    // What the quotient leaves of a. A device without fused multiply-add rounds it away; then it comes from the product in
    // two numbers.
    let p = f_two_product(q, b);
    let fused = fma(-q, b, a);
    let rest = select(fused, (a - p.x) - p.y, fused == a - p.x);
    let better = fma(rest, 1.0 / b, q);
    return select(q, better, f_finite(better));
}

// x times a zero of this sign. A compiler that knows the zero may take the product for 0, whatever x is.
fn f_times_zero(x: f32, sign: u32) -> f32 {
    let zero = (bitcast<u32>(x) & 0x80000000u) ^ sign;
    return f_bits(select(0x7fc00000u, zero, f_finite(x)));
}

fn f_max(a: f32, b: f32) -> f32 { return select(b, a, f_nan(a) || a > b); }

fn f_min(a: f32, b: f32) -> f32 { return select(b, a, f_nan(a) || a < b); }

// a b as a sum of two numbers. The bound keeps compilers from joining the product with a sum that uses it, which would
// round once where twice is meant.
fn f_two_product(a: f32, b: f32) -> vec2<f32> {
    let p = clamp(a * b, -3.4e38, 3.4e38);
    let ah = bitcast<f32>(bitcast<u32>(a) & 0xfffff000u);
    let bh = bitcast<f32>(bitcast<u32>(b) & 0xfffff000u);
    let al = a - ah;
    let bl = b - bh;
    return vec2<f32>(p, ((ah * bh - p) + ah * bl + al * bh) + al * bl);
}

// e^(b ln a) for finite a above 0 and finite b, the logarithm in two numbers.
fn f_pow_positive(a: f32, b: f32) -> f32 {
    let p = f_split(a);
    let f = p.x - 1.0;
    let g = p.x + 1.0;
    let s = f / g;
    let sg = f_two_product(s, g);
    let rest = ((f - sg.x) - sg.y - s * (p.x - (g - 1.0))) / g;
    let t = s * s;
    var q = fma(t, 0.19586255, 0.22176053);
    q = fma(t, q, 0.28572112);
    q = fma(t, q, 0.39999995);
    q = fma(t, q, 0.6666667);
    let small = fma(p.y, -2.1219444e-4, fma(2.0, rest, t * s * q));
    // The larger parts add exactly or nearly so; what is lost joins the small part.
    let whole = p.y * 0.693359375;
    let high = whole + 2.0 * s;
    let lost = select((whole - high) + 2.0 * s, (2.0 * s - high) + whole, abs(whole) < abs(2.0 * s));
    let y = f_two_product(b, high);
    if (!f_finite(y.x) || abs(y.x) > 110.0) { return f_exp(clamp(b * high, -110.0, 110.0)); }
    let n = round(y.x * 1.44269504);
    let r = f_exp_rest(y.x, n) + (y.y + b * (small + lost));
    return f_scale(1.0 + f_exp_near(r), i32(clamp(n, -160.0, 160.0)));
}

fn f_pow(a: f32, b: f32) -> f32 {
    if (f_equal(b, 0.0) || f_equal(a, 1.0)) { return 1.0; }
    if (f_nan(a) || f_nan(b)) { return f_bits(0x7fc00000u); }
    let size = abs(a);
    let endless = f_bits(0x7f800000u);
    if (!f_finite(b)) {
        if (size == 1.0) { return 1.0; }
        return select(0.0, endless, (size > 1.0) == (b > 0.0));
    }
    let whole = trunc(b) == b;
    let odd = whole && abs(b) < 16777216.0 && (i32(b) & 1) != 0;
    let negative = (bitcast<u32>(a) >> 31u) != 0u;
    var y = 0.0;
    if (size == 0.0 || !f_finite(a)) {
        y = select(0.0, endless, (size == 0.0) == (b < 0.0));
    } else {
        if (negative && !whole) { return f_bits(0x7fc00000u); }
        y = f_pow_positive(size, b);
    }
    return select(y, -y, negative && odd);
}

// The remainder of a division, with the sign of a: long division by bits.
fn f_rem(a: f32, b: f32) -> f32 {
    if (!f_finite(a) || f_nan(b) || b == 0.0) { return f_bits(0x7fc00000u); }
    let x = abs(a);
    let y = abs(b);
    if (x < y) { return a; }
    let bx = bitcast<u32>(x);
    let by = bitcast<u32>(y);
    var ex = i32(bx >> 23u);
    let ey = i32(by >> 23u);
    var mx = (bx & 0x007fffffu) | 0x00800000u;
    let my = (by & 0x007fffffu) | 0x00800000u;
    while (ex > ey) {
        if (mx >= my) { mx -= my; }
        mx <<= 1u;
        ex -= 1;
    }
    if (mx >= my) { mx -= my; }
    let r = f_scale(f32(mx), ey - 150);
    return select(r, -r, a < 0.0);
}

fn i_div(a: i32, b: i32) -> i32 {
    if (b == 0) { return 0; }
    if (b == -1) { return -a; }
    return a / b;
}

fn i_rem(a: i32, b: i32) -> i32 {
    if (b == 0 || b == -1) { return 0; }
    return a % b;
}

fn u_div(a: u32, b: u32) -> u32 {
    if (b == 0u) { return 0u; }
    return a / b;
}

fn u_rem(a: u32, b: u32) -> u32 {
    if (b == 0u) { return 0u; }
    return a % b;
}

fn f_to_i32(x: f32) -> i32 {
    if (f_nan(x)) { return 0; }
    if (x >= 2147483648.0) { return 2147483647; }
    if (x <= -2147483648.0) { return -2147483647 - 1; }
    return i32(x);
}

fn f_to_u32(x: f32) -> u32 {
    if (f_nan(x) || x <= 0.0) { return 0u; }
    if (x >= 4294967296.0) { return 0xffffffffu; }
    return u32(x);
}

fn f_to_u8(x: f32) -> u32 { return min(f_to_u32(x), 255u); }

// The upper and lower words of a product of two words.
fn u_wide(a: u32, b: u32) -> vec2<u32> {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let low = al * bl;
    let middle = ah * bl + (low >> 16u);
    let other = al * bh + (middle & 0xffffu);
    return vec2<u32>(ah * bh + (middle >> 16u) + (other >> 16u), a * b);
}

// Word i of the Philox4x32-10 stream.
fn u_random(k0: u32, k1: u32, step: u32, stream: u32, i: u32) -> u32 {
    var c = vec4<u32>(i >> 2u, step, stream, 0u);
    var k = vec2<u32>(k0, k1);
    for (var round = 0; round < 10; round++) {
        let first = u_wide(0xD2511F53u, c.x);
        let second = u_wide(0xCD9E8D57u, c.z);
        c = vec4<u32>(second.x ^ c.y ^ k.x, second.y, first.x ^ c.w ^ k.y, first.y);
        k += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return c[i & 3u];
}

// Logarithms of sums as the largest argument and the sum of the others relative to it.
fn r_lse(acc: vec2<f32>, x: f32) -> vec2<f32> {
    if (f_nan(acc.x)) { return acc; }
    if (f_nan(x)) { return vec2<f32>(x, 1.0); }
    if (x == acc.x) { return vec2<f32>(x, acc.y + 1.0); }
    if (x > acc.x) { return vec2<f32>(x, fma(acc.y, f_exp(acc.x - x), 1.0)); }
    return vec2<f32>(acc.x, acc.y + f_exp(x - acc.x));
}

fn r_lse_four(acc: vec2<f32>, x: vec4<f32>) -> vec2<f32> {
    let top = max(max(x.x, x.y), max(x.z, x.w));
    if (!f_finite((x.x + x.y) + (x.z + x.w)) || f_nan(acc.x) || acc.x > 3.4e38) {
        return r_lse(r_lse(r_lse(r_lse(acc, x.x), x.y), x.z), x.w);
    }
    let base = max(acc.x, top);
    let sum = (f_exp(x.x - base) + f_exp(x.y - base)) + (f_exp(x.z - base) + f_exp(x.w - base));
    return vec2<f32>(base, fma(acc.y, f_exp(acc.x - base), sum));
}

fn r_lse_merge(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    if (f_nan(a.x)) { return a; }
    if (f_nan(b.x)) { return b; }
    if (a.x == b.x) { return vec2<f32>(a.x, a.y + b.y); }
    if (a.x > b.x) { return vec2<f32>(a.x, fma(b.y, f_exp(b.x - a.x), a.y)); }
    return vec2<f32>(b.x, fma(a.y, f_exp(a.x - b.x), b.y));
}

fn r_lse_end(a: vec2<f32>) -> f32 {
    if (!f_finite(a.x)) { return a.x; }
    return a.x + f_log(a.y);
}

// Count, mean and sum of squared distances from it (Welford; merged after Chan, Golub and LeVeque).
fn r_moments(acc: vec3<f32>, x: f32) -> vec3<f32> {
    let n = acc.x + 1.0;
    if (!f_finite(acc.y)) { return vec3<f32>(n, acc.y + x, f_bits(0x7fc00000u)); }
    let d = x - acc.y;
    let mean = acc.y + d / n;
    return vec3<f32>(n, mean, fma(d, x - mean, acc.z));
}

fn r_moments_four(acc: vec3<f32>, x: vec4<f32>) -> vec3<f32> {
    let mean = ((x.x + x.y) + (x.z + x.w)) * 0.25;
    if (!f_finite(mean)) {
        return r_moments(r_moments(r_moments(r_moments(acc, x.x), x.y), x.z), x.w);
    }
    let d = x - vec4<f32>(mean);
    return r_moments_merge(acc, vec3<f32>(4.0, mean, dot(d, d)));
}

fn r_moments_merge(a: vec3<f32>, b: vec3<f32>) -> vec3<f32> {
    if (b.x == 0.0) { return a; }
    if (a.x == 0.0) { return b; }
    let n = a.x + b.x;
    if (!f_finite(a.y) || !f_finite(b.y)) { return vec3<f32>(n, a.y + b.y, f_bits(0x7fc00000u)); }
    let d = b.y - a.y;
    let share = b.x / n;
    return vec3<f32>(n, fma(d, share, a.y), a.z + b.z + d * d * a.x * share);
}

// Whether an element with its position comes before another as the largest: NaN first, then size, then position.
fn r_beats_f32(x: f32, i: i32, y: f32, j: i32) -> bool {
    if (j < 0) { return i >= 0; }
    if (i < 0) { return false; }
    let xn = f_nan(x);
    let yn = f_nan(y);
    if (xn != yn) { return xn; }
    if (!xn && x != y) { return x > y; }
    return i < j;
}

fn r_beats_i32(x: i32, i: i32, y: i32, j: i32) -> bool {
    if (j < 0) { return i >= 0; }
    if (i < 0) { return false; }
    if (x != y) { return x > y; }
    return i < j;
}

// The nearest number of 5 bits of exponent and 10 of fraction, ties to even. By bits even where shaders have the type: there
// are compilers that leave a conversion there and back out.
fn f_round_to_f16(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let magnitude = bits & 0x7fffffffu;
    let sign = bits & 0x80000000u;
    // From what rounds to 2^16 on: infinity, or NaN, which stays.
    if (magnitude >= 0x477ff000u) {
        return bitcast<f32>(sign | select(0x7f800000u, magnitude, magnitude > 0x7f800000u));
    }
    // Below 2^-14 steps are as large as those of f32 next to 1/2.
    if (magnitude < 0x38800000u) {
        let steps = bitcast<u32>(bitcast<f32>(magnitude) + 0.5) - 0x3f000000u;
        return bitcast<f32>(sign | bitcast<u32>(f32(steps) * 5.9604644775390625e-8));
    }
    return bitcast<f32>(sign | ((magnitude + 0xfffu + ((magnitude >> 13u) & 1u)) & 0xffffe000u));
}

// Only where shaders have the type. Not in place, so that constants are converted when the shader runs: those beyond the
// largest f16 are no error then.
fn f_to_f16(x: f32) -> f16 { return f16(x); }

// The nearest number of 8 bits of exponent and 7 of fraction, ties to even.
fn f_round_to_bf16(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) { return x; }
    return bitcast<f32>((bits + 0x7fffu + ((bits >> 16u) & 1u)) & 0xffff0000u);
}

// Only in what is translated into a language that has the type.
fn f_to_bf16(x: f32) -> bf16 { return bf16(x); }
