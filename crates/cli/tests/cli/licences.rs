//! The licences of everything that is built in, optional features included, are among those that deny.toml allows, and
//! the versions of Rust that it asks for are not above the stated one.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The licences that deny.toml lists.
fn allowed(text: &str) -> BTreeSet<&str> {
    let list = text.lines().find_map(|line| line.strip_prefix("allow = [")).unwrap();
    list.trim_end_matches(']').split(", ").map(|name| name.trim_matches('"')).collect()
}

/// Whether an SPDX expression holds with these licences: `AND` binds what must all be, `OR` (or `/`) what may be
/// chosen.
fn holds(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let held = either(&words, &mut at, allowed);
    assert_eq!(at, words.len(), "{expression}");
    held
}

fn either(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let mut held = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        held |= both(words, at, allowed);
    }
    held
}

fn both(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let mut held = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        held &= one(words, at, allowed);
    }
    held
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let word = words[*at];
    *at += 1;
    if word == "(" {
        let held = either(words, at, allowed);
        assert_eq!(words[*at], ")");
        *at += 1;
        return held;
    }
    let held = allowed.contains(word);
    // An exception only adds to what is allowed.
    if words.get(*at) == Some(&"WITH") {
        *at += 2;
    }
    held
}

#[test]
fn expressions_hold_or_not() {
    let allowed = BTreeSet::from(["MIT", "Zlib"]);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(GPL-3.0 OR MIT) AND Zlib", true),
        ("MIT AND (GPL-3.0 OR LGPL-3.0)", false),
        ("MIT WITH LLVM-exception", true),
    ] {
        assert_eq!(holds(expression, &allowed), expected, "{expression}");
    }
}

/// The first two numbers of a version.
fn version(text: &str) -> [u32; 2] {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap());
    [numbers.next().unwrap(), numbers.next().unwrap_or(0)]
}

#[test]
fn every_dependency_has_an_allowed_licence_and_builds_with_the_stated_rust() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let deny = std::fs::read_to_string(root.join("deny.toml")).unwrap();
    let allowed = allowed(&deny);
    assert!(allowed.contains("MIT") && allowed.len() > 5);
    let arguments = ["metadata", "--format-version", "1", "--all-features", "--offline", "--locked"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(&root).output().unwrap();
    if !output.status.success() {
        // What optional features and other systems need may never have been fetched here; the check does.
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(std::env::var_os("DROPFORGE_FETCHED").is_none(), "{message}");
        eprintln!("skipped, `cargo fetch` brings what it needs: {message}");
        return;
    }
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let stated = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    let stated = version(stated.trim_matches('"'));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 20, "{} packages", packages.len());
    for package in packages {
        let (name, licence) = (&package["name"], package["license"].as_str().unwrap_or_default());
        assert!(holds(licence, &allowed), "{name}: `{licence}` is not among what deny.toml allows");
        // Crates say what they need; what the code itself uses is looked at by clippy's `incompatible_msrv`.
        let needed = package["rust_version"].as_str().map_or([0, 0], version);
        assert!(needed <= stated, "{name} needs Rust {needed:?}, Cargo.toml states {stated:?}");
    }
}
