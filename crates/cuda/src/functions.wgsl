// Functions of the printers that are exact by themselves here, or have an instruction of their own: division and roots are
// rounded rightly, comparisons see NaN, and nothing is assumed of numbers. In place of those of the same names.

fn f_nan(x: f32) -> bool { return x != x; }

fn f_equal(a: f32, b: f32) -> bool { return a == b; }

fn f_less(a: f32, b: f32) -> bool { return a < b; }

fn f_at_most(a: f32, b: f32) -> bool { return a <= b; }

fn f_div(a: f32, b: f32) -> f32 { return a / b; }

fn f_sqrt(x: f32) -> f32 { return sqrt(x); }

fn f_times_zero(x: f32, sign: u32) -> f32 { return x * bitcast<f32>(sign); }

fn f_round_to_f16(x: f32) -> f32 { return f32(f16(x)); }

fn u_wide(a: u32, b: u32) -> vec2<u32> { return vec2<u32>(__umulhi(a, b), a * b); }

// Without an index into registers, which would go through memory.
fn u_random(k0: u32, k1: u32, step: u32, stream: u32, i: u32) -> u32 {
    var c = vec4<u32>(i >> 2u, step, stream, 0u);
    var k = vec2<u32>(k0, k1);
    for (var round = 0; round < 10; round++) {
        let first = u_wide(0xD2511F53u, c.x);
        let second = u_wide(0xCD9E8D57u, c.z);
        c = vec4<u32>(second.x ^ c.y ^ k.x, second.y, first.x ^ c.w ^ k.y, first.y);
        k += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    let place = i & 3u;
    return select(select(c.x, c.y, place == 1u), select(c.z, c.w, place == 3u), place > 1u);
}
