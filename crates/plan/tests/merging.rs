//! Which kernels become one with several instances, and that such plans compute what their programs say.

mod support;

use dropforge_ir::text;
use dropforge_plan::explain::title;
use dropforge_plan::plan::Work;
use support::check;

/// A program, and the loop kernels of its plan in order.
struct Case {
    program: &'static str,
    loops: &'static [&'static str],
}

const CASES: &[Case] = &[
    // The norm of gradients of several shapes, one of them turned. What updates the turned one has two axes.
    Case {
        program: r#"program clipped {
            %x: f32[40, 36] = input "x"
            %y: f32[40, 35] = input "y"
            %z: f32[40, 39] = input "z"
            %a: f32[36, 35] = state "a"
            %b: f32[39, 36] = state "b"
            %c: f32[35] = state "c"
            %da: f32[36, 35] = dot %x, %y {lhs_batch=[], rhs_batch=[], lhs_contract=[0], rhs_contract=[0]}
            %turned: f32[36, 39] = dot %x, %z {lhs_batch=[], rhs_batch=[], lhs_contract=[0], rhs_contract=[0]}
            %db: f32[39, 36] = permute %turned {order=[1, 0]}
            %dc: f32[35] = reduce_sum %y {axes=[0]}
            %aa = mul %da, %da
            %bb = mul %db, %db
            %cc = mul %dc, %dc
            %sa: f32[] = reduce_sum %aa {axes=[0, 1]}
            %sb: f32[] = reduce_sum %bb {axes=[0, 1]}
            %sc: f32[] = reduce_sum %cc {axes=[0]}
            %ra: f32[1] = reshape %sa {shape=[1]}
            %rb: f32[1] = reshape %sb {shape=[1]}
            %rc: f32[1] = reshape %sc {shape=[1]}
            %sums: f32[3] = concat %ra, %rb, %rc {axis=0}
            %sum: f32[] = reduce_sum %sums {axes=[0]}
            %norm = sqrt %sum
            %na: f32[36, 35] = broadcast %norm {shape=[36, 35], axes=[]}
            %nb: f32[39, 36] = broadcast %norm {shape=[39, 36], axes=[]}
            %nc: f32[35] = broadcast %norm {shape=[35], axes=[]}
            %ua = div %da, %na
            %ub = div %db, %nb
            %uc = div %dc, %nc
            %wa = sub %a, %ua
            %wb = sub %b, %ub
            %wc = sub %c, %uc
            write "a" = %wa
            write "b" = %wb
            write "c" = %wc
        }"#,
        loops: &[
            "fused(reduce_sum)",
            "fused(mul, reduce_sum) × 3",
            "fused(reduce_sum, sqrt)",
            "fused(div, sub)",
            "fused(div, sub) × 2",
        ],
    },
    // Results that nobody waits for.
    Case {
        program: r#"program metrics {
            %x: f32[40] = input "x"
            %y: f32[300] = input "y"
            %z: f32[2, 50] = input "z"
            %sx: f32[] = reduce_sum %x {axes=[0]}
            %sy: f32[] = reduce_sum %y {axes=[0]}
            %sz: f32[2] = reduce_sum %z {axes=[1]}
            output "x" = %sx
            output "y" = %sy
            output "z" = %sz
        }"#,
        loops: &["fused(reduce_sum) × 2", "fused(reduce_sum)"],
    },
    // The second waits for the first.
    Case {
        program: r#"program chained {
            %x: f32[6, 6] = input "x"
            %y: f32[6, 6] = input "y"
            %a: f32[6] = reduce_max %x {axes=[1]}
            %wide: f32[6, 6] = broadcast %a {shape=[6, 6], axes=[1]}
            %p: f32[6, 6] = dot %wide, %y {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}
            %b: f32[6] = reduce_max %p {axes=[1]}
            output "b" = %b
        }"#,
        loops: &["fused(reduce_max)", "fused(reduce_max)"],
    },
    // Neither waits for the other, but what reads the first would have to wait for the second.
    Case {
        program: r#"program branches {
            %x: f32[6, 6] = input "x"
            %y: f32[6, 6] = input "y"
            %a: f32[6] = reduce_max %x {axes=[1]}
            %b: f32[6] = reduce_max %y {axes=[1]}
            %p: f32[6] = dot %a, %y {lhs_batch=[], rhs_batch=[], lhs_contract=[0], rhs_contract=[0]}
            output "p" = %p
            output "b" = %b
        }"#,
        loops: &["fused(reduce_max)", "fused(reduce_max)"],
    },
    // Each of the products would have to stay until the last is there.
    Case {
        program: r#"program large {
            %x: f32[64, 64] = input "x"
            %y: f32[64, 64] = input "y"
            %a: f32[64, 64] = dot %x, %y {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}
            %b: f32[64, 64] = dot %a, %y {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}
            %c: f32[64, 64] = dot %b, %y {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}
            %sa: f32[] = reduce_max %a {axes=[0, 1]}
            %sb: f32[] = reduce_max %b {axes=[0, 1]}
            %sc: f32[] = reduce_max %c {axes=[0, 1]}
            output "a" = %sa
            output "b" = %sb
            output "c" = %sc
        }"#,
        loops: &["fused(reduce_max)", "fused(reduce_max)", "fused(reduce_max)"],
    },
    // Small ones may stay.
    Case {
        program: r#"program small {
            %x: f32[8, 8] = input "x"
            %y: f32[8, 8] = input "y"
            %a: f32[8, 8] = dot %x, %y {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}
            %b: f32[8, 8] = dot %a, %y {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}
            %sa: f32[] = reduce_max %a {axes=[0, 1]}
            %sb: f32[] = reduce_max %b {axes=[0, 1]}
            output "a" = %sa
            output "b" = %sb
        }"#,
        loops: &["fused(reduce_max) × 2"],
    },
    // The first state would be overwritten before it is read, or have to be written beside.
    Case {
        program: r#"program states {
            %x: f32[8, 8] = input "x"
            %a: f32[8, 8] = state "a"
            %b: f32[8, 8] = state "b"
            %sa: f32[] = reduce_max %a {axes=[0, 1]}
            %p: f32[8, 8] = dot %a, %x {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}
            %turned: f32[8, 8] = permute %p {order=[1, 0]}
            %na = tanh %turned
            %sb: f32[] = reduce_max %b {axes=[0, 1]}
            write "a" = %na
            output "a" = %sa
            output "b" = %sb
        }"#,
        loops: &["fused(reduce_max)", "fused(tanh)", "fused(reduce_max)"],
    },
    // All of a turned value is one run, like all of any other.
    Case {
        program: r#"program turned {
            %x: f32[5, 9] = input "x"
            %y: f32[2, 3, 4] = input "y"
            %tx: f32[9, 5] = permute %x {order=[1, 0]}
            %ty: f32[4, 2, 3] = permute %y {order=[2, 0, 1]}
            %a: f32[] = reduce_max %tx {axes=[0, 1]}
            %b: f32[] = reduce_max %ty {axes=[0, 1, 2]}
            output "a" = %a
            output "b" = %b
        }"#,
        loops: &["fused(reduce_max) × 2"],
    },
];

#[test]
fn equal_kernels_merge_where_nothing_waits_or_lives_longer() {
    for Case { program, loops } in CASES {
        let plan = check(&text::parse(program).unwrap());
        let found: Vec<String> = plan
            .kernels
            .iter()
            .filter(|kernel| matches!(kernel.work, Work::Loop { .. }))
            .map(|kernel| title(&plan, kernel))
            .collect();
        assert_eq!(found, *loops, "{}", plan.program.name);
    }
}
