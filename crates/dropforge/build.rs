//! Says in one line what to do when the library is built without optimisation: kernels are a hundred times slower then.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("OPT_LEVEL").is_ok_and(|level| level == "0") {
        println!(
            "cargo::warning=built without optimisation, in which kernels are unusable; put into your Cargo.toml: \
             [profile.dev.package.\"*\"] opt-level = 3, debug-assertions = false, overflow-checks = false"
        );
    }
}
