//! Calls of clang, which stands in for the compiler of Metal.

use crate::translate::Kernel;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How to call clang, or nothing where its absence was allowed.
///
/// # Panics
/// If clang is missing and `DROPFORGE_NO_CLANG=1` does not allow it.
pub fn find() -> Option<Clang> {
    match Command::new("clang++").arg("--version").output() {
        Ok(output) if output.status.success() => Some(Clang),
        _ if std::env::var("DROPFORGE_NO_CLANG").as_deref() == Ok("1") => None,
        _ => panic!(
            "clang++ is missing, with which kernels for Metal are checked: install clang (DROPFORGE_NO_CLANG=1 passes without)"
        ),
    }
}

/// A clang that was found.
#[derive(Clone, Copy)]
pub struct Clang;

/// What the compilers of Metal do by themselves: numbers with a point are single, nothing converts between vectors.
const LANGUAGE: [&str; 9] = [
    "-x",
    "c++",
    "-std=c++17",
    "-fno-lax-vector-conversions",
    "-Wno-unknown-attributes",
    "-Wno-keyword-macro",
    "-ferror-limit=8",
    "-Xclang",
    "-cl-single-precision-constant",
];

/// Metal's arithmetic unless it is told otherwise, which wgpu does not do: sums may be taken in another order, products
/// join sums, and nothing is NaN or infinite. A machine without fused multiply-add cannot stand in for that and takes
/// arithmetic as it is written. Vectors are divided as numbers are: an estimate would make 1/∞ NaN.
fn arithmetic() -> &'static [&'static str] {
    #[cfg(target_arch = "x86_64")]
    return if std::arch::is_x86_feature_detected!("fma") {
        &["-ffast-math", "-mfma", "-mrecip=none"]
    } else {
        &[]
    };
    #[cfg(not(target_arch = "x86_64"))]
    return &["-ffast-math"];
}

/// Where the files of a check lie; emptied first.
pub fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("metal").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn shim() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metal/shim")
}

fn call(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("clang++ cannot be called: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

impl Clang {
    /// Checks the types of a file, with address spaces that do not mix. The target is one that has half precision.
    pub fn check(self, file: &Path) -> Result<(), String> {
        let mut command = Command::new("clang++");
        command.args(LANGUAGE).args([
            "--target=aarch64-linux-gnu",
            "-fsyntax-only",
            "-nostdinc",
            "-nostdinc++",
        ]);
        call(command.arg("-I").arg(shim()).arg(file))
    }

    /// Compiles a file that runs kernels.
    pub fn compile(self, file: &Path, program: &Path) -> Result<(), String> {
        let mut command = Command::new("clang++");
        command.args(LANGUAGE).args(["-O1", "-Wno-everything"]).args(arithmetic());
        call(command.arg("-I").arg(shim()).arg(file).arg("-o").arg(program))
    }
}

/// Kernels in one file, each in a namespace of its own, as their names are the same.
pub fn joined<'a>(kernels: impl IntoIterator<Item = &'a Kernel>) -> String {
    let mut text = String::from("#include <metal_stdlib>\n");
    for (number, kernel) in kernels.into_iter().enumerate() {
        let label = kernel.label.replace(['\n', '\\'], " ");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "// {label}\nnamespace kernel_{number} {{\n{}\n}}", kernel.source);
    }
    text
}
