mod programs;
mod translate;
use dropforge_wgpu::{ShaderLimits, shaders};
#[test]
fn dump() {
    let limits = ShaderLimits { storage_bytes: 1 << 30, uniform_bytes: 1 << 16 };
    let start = std::time::Instant::now();
    let programs = programs::model_programs();
    println!("{:?}", start.elapsed());
    let mut seen = std::collections::HashMap::new();
    let mut count = 0;
    for program in &programs {
        let s = shaders(program, limits).unwrap();
        for d in s.dispatches {
            count += 1;
            let w: Vec<bool> = d.bindings.iter().map(|b| b.1).collect();
            seen.entry(d.source.clone())
                .or_insert_with(|| translate::translate(&d.label, &d.source, &w).unwrap());
        }
    }
    println!("{} {count} {} {:?}", programs.len(), seen.len(), start.elapsed());
    let mut out = String::from("#include <metal_stdlib>\n");
    for (i, k) in seen.values().enumerate() {
        out += &format!("namespace k{i} {{\n{}\n}}\n", k.source.replace("#include <simd/simd.h>", ""));
    }
    std::fs::write("/tmp/wt-metal/target/all.cpp", out).unwrap();
}
