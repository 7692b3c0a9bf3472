//! That the checks can fail: faults of every kind that printed kernels could have, each beside the same line without
//! it.

use crate::clang::{self, folder};
use crate::execution;
use crate::programs::{self, Sample};
use crate::{machine, machine_of_matrices};
use dropforge_ir::interpret::Numbers;

/// A line that is right, and one that is not.
const FAULTS: [(&str, &str, &str); 12] = [
    ("an undeclared name", "total = total + 1.0;", "total = total + totl;"),
    ("a number in place of a vector", "quad = metal::float4(total);", "total = quad;"),
    ("a missing conversion of a vector", "quad = static_cast<metal::float4>(words);", "quad = words;"),
    (
        "vectors of different lengths",
        "quad = quad + metal::float4(1.0);",
        "quad = quad + metal::float3(1.0);",
    ),
    ("too few parts", "words = metal::uint4(1u, 2u, 3u, 4u);", "words = metal::uint4(1u, 2u, 3u);"),
    (
        "a part of another type",
        "quad = metal::float4(quad.xy, quad.zw);",
        "quad = metal::float4(quad.xy, words.xy);",
    ),
    ("arguments of different types", "total = metal::max(total, 1.0);", "total = metal::max(total, 1u);"),
    ("bits of another size", "total = as_type<float>(words.x);", "total = as_type<float>(words);"),
    ("an unknown function", "total = metal::floor(total);", "total = metal::flor(total);"),
    ("a write to what is only read", "results.inner[0] = 1u;", "given.inner[0] = 1u;"),
    (
        "memory of a workgroup taken for a buffer",
        "threadgroup float* at = &shared.inner[lid]; *at = total;",
        "device float* at = &shared.inner[lid]; *at = total;",
    ),
    ("a buffer given as memory of a workgroup", "first(shared);", "first(floats);"),
];

fn kernel(line: &str) -> String {
    format!(
        "#include <metal_stdlib>
using metal::uint;
struct Words {{ uint inner[1]; }};
struct Floats {{ float inner[64]; }};
float first(threadgroup Floats& memory) {{ return memory.inner[0]; }}
kernel void main_(
  uint lid [[thread_index_in_threadgroup]]
, constant metal::uint4& P [[buffer(0)]]
, device Words const& given [[buffer(1)]]
, device Words& results [[buffer(2)]]
, device Floats& floats [[buffer(3)]]
, threadgroup Floats& shared
) {{
    float total = 0.0;
    metal::float4 quad = {{}};
    metal::uint4 words = P;
    shared.inner[lid] = as_type<float>(given.inner[lid]) + floats.inner[lid];
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    {line}
    results.inner[lid] = as_type<uint>(total + quad.x) + words.x;
}}
"
    )
}

#[test]
fn wrong_types_are_found() {
    let Some(clang) = clang::find() else { return };
    let folder = folder("faults");
    let mut missed = Vec::new();
    for (number, (what, right, wrong)) in FAULTS.iter().enumerate() {
        let check = |name: &str, line: &str| {
            let file = folder.join(format!("{name}-{number}.cpp"));
            std::fs::write(&file, kernel(line)).unwrap();
            clang.check(&file)
        };
        if let Err(message) = check("right", right) {
            panic!("without {what}: {message}");
        }
        if check("wrong", wrong).is_ok() {
            missed.push(*what);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// A product, which shares tiles in memory of the workgroup.
fn product() -> Sample {
    programs::tiled().into_iter().find(|sample| sample.name.starts_with("product 130")).unwrap()
}

#[test]
fn wrong_results_are_found() {
    let Some(clang) = clang::find() else { return };
    let mut sample = product();
    let last = sample.expected.pop().unwrap();
    let mut elements = last.elements().to_vec();
    *elements.last_mut().unwrap() += 0.01;
    sample.expected.push(Numbers::new(last.ty().clone(), elements).unwrap());
    let (_, failures) = execution::run(clang, "wrong-result", &[sample], machine());
    assert!(failures.len() == 1 && failures[0].contains("1 of 9100 elements"), "{failures:?}");
}

#[test]
fn missing_barriers_are_found() {
    let Some(clang) = clang::find() else { return };
    let damage = |text: String| text.replace("metal::threadgroup_barrier(", "(void)(");
    let (_, failures) = execution::run_with(clang, "no-barriers", &[product()], machine(), damage);
    assert!(failures.len() == 1 && failures[0].contains("differ"), "{failures:?}");
}

/// A matrix is in memory of the workgroup when all threads of its subgroup have written their part.
#[test]
fn matrices_that_are_read_too_early_are_found() {
    let Some(clang) = clang::find() else { return };
    let damage = |text: String| {
        let (before, after) = text.rsplit_once("simdgroup_store(").unwrap_or(("", &text));
        format!("{before}simdgroup_store({}", after.replacen("metal::threadgroup_barrier(", "(void)(", 1))
    };
    let samples = programs::matrices();
    let found =
        |change| execution::run_with(clang, "early-matrices", &samples[..1], machine_of_matrices(), change).1;
    assert!(found(|text| text).is_empty());
    let failures = found(damage);
    assert!(failures.len() == 1 && failures[0].contains("differ"), "{failures:?}");
}

#[test]
fn values_of_the_wrong_thread_are_found() {
    let Some(clang) = clang::find() else { return };
    let damage = |text: String| text.replace("metal::simd_shuffle_xor(", "metal::simd_shuffle(");
    let samples = programs::reductions();
    let (_, failures) = execution::run_with(clang, "no-exchange", &samples[..1], machine(), damage);
    assert!(failures.len() == 1 && failures[0].contains("differ"), "{failures:?}");
}

#[test]
fn barriers_that_some_threads_miss_are_found() {
    let Some(clang) = clang::find() else { return };
    let damage = |text: String| {
        text.replace("metal::threadgroup_barrier(", "if (lid < 3u) metal::threadgroup_barrier(")
    };
    let (_, failures) = execution::run_with(clang, "missed-barriers", &[product()], machine(), damage);
    assert!(failures.len() == 1 && failures[0].contains("wait at a barrier"), "{failures:?}");
}
