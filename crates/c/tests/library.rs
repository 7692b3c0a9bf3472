//! The functions as C calls them: from here, from a program that a C compiler makes, and from Python.

use dropforge::prelude::*;
use dropforge_c::{
    Model, dropforge_class, dropforge_class_count, dropforge_close, dropforge_error, dropforge_inputs,
    dropforge_open, dropforge_outputs, dropforge_predict, dropforge_predict_bytes, dropforge_predict_image,
    dropforge_predict_tokens, dropforge_shape, dropforge_version,
};
use std::ffi::{CStr, CString, c_char};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("dropforge-c-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// A run that tells digits.
    fn run(&self) -> PathBuf {
        let (train, _) = datasets::digits(300, 50, 1);
        let net = seq![flatten(), dense(10)];
        let mut trainer =
            Trainer::new(net, cross_entropy(), Adam::new(1e-2)).batch(50).compile(&train).unwrap();
        trainer.fit(&train).epochs(3).run().unwrap();
        let run = self.0.join("run");
        trainer.save(&run).unwrap();
        run
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn rust(pointer: *const c_char) -> String {
    assert!(!pointer.is_null());
    // SAFETY: the library gives texts that end with a zero, and none is freed before this has read it.
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap().into()
}

fn open(path: &Path) -> *mut Model {
    let path = c(path.to_str().unwrap());
    // SAFETY: the path ends with a zero.
    unsafe { dropforge_open(path.as_ptr()) }
}

#[test]
fn predictions_are_those_of_rust() {
    let folder = Folder::new("predictions");
    let run = folder.run();
    let trained = Trained::open(&run, &Runtime::shared().unwrap()).unwrap();
    let model = open(&run);
    assert!(!model.is_null(), "{}", rust(dropforge_error()));
    let bytes: Vec<u8> = (0..3 * 28 * 28).map(|i| (i * 7 % 256) as u8).collect();
    let floats: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let expected = trained.probabilities(floats.clone()).unwrap().concat();
    // SAFETY: the model is open until the last line, and rows of ten numbers for three samples have room.
    unsafe {
        assert_eq!((dropforge_inputs(model), dropforge_outputs(model)), (28 * 28, 10));
        let mut shape = [0; 2];
        assert_eq!(dropforge_shape(model, shape.as_mut_ptr(), 2), 3);
        assert_eq!(shape, [1, 28]);
        assert_eq!(dropforge_shape(model, null_mut(), 0), 3);
        assert_eq!(dropforge_class_count(model), 10);
        assert_eq!(rust(dropforge_class(model, 7)), "7");
        assert!(dropforge_class(model, 10).is_null());

        let mut rows = [f32::NAN; 30];
        assert_eq!(dropforge_predict(model, floats.as_ptr(), 3, rows.as_mut_ptr()), 0);
        assert_eq!(rows[..], expected);
        rows.fill(f32::NAN);
        assert_eq!(dropforge_predict_bytes(model, bytes.as_ptr(), 3, rows.as_mut_ptr()), 0);
        assert_eq!(rows[..], expected);
        assert_eq!(dropforge_predict(model, null(), 0, null_mut()), 0);

        // Mistakes are said, and nothing is written.
        rows.fill(-1.0);
        assert_eq!(dropforge_predict_tokens(model, [1; 784].as_ptr(), 1, rows.as_mut_ptr()), -1);
        assert!(rust(dropforge_error()).contains("takes f32, got i32"), "{}", rust(dropforge_error()));
        assert_eq!(dropforge_predict(model, floats.as_ptr(), usize::MAX / 2, rows.as_mut_ptr()), -1);
        assert!(rust(dropforge_error()).contains("more than memory"));
        assert_eq!(dropforge_predict(model, null(), 1, rows.as_mut_ptr()), -1);
        assert_eq!(dropforge_predict(null(), floats.as_ptr(), 1, rows.as_mut_ptr()), -1);
        assert!(rust(dropforge_error()).contains("NULL"));
        let missing = c("no such picture.bmp");
        assert_eq!(dropforge_predict_image(model, missing.as_ptr(), rows.as_mut_ptr()), -1);
        assert!(rust(dropforge_error()).contains("no such picture.bmp"));
        assert!(rows.iter().all(|&x| x == -1.0));
        assert_eq!((dropforge_inputs(null()), dropforge_class_count(null())), (0, 0));
        dropforge_close(null_mut());
        dropforge_close(model);
    }
    assert_eq!(rust(dropforge_version()), env!("CARGO_PKG_VERSION"));
}

#[test]
fn what_is_no_run_is_refused_with_its_reason() {
    let folder = Folder::new("refused");
    assert!(open(&folder.0.join("nowhere")).is_null());
    assert!(rust(dropforge_error()).contains("nowhere"), "{}", rust(dropforge_error()));
    // SAFETY: both texts may be given.
    unsafe {
        assert!(dropforge_open(null()).is_null());
        assert!(rust(dropforge_error()).contains("NULL"));
        assert!(dropforge_open(c"\xff".as_ptr()).is_null());
    }
    assert!(rust(dropforge_error()).contains("UTF-8"));
    // Each thread has its own message.
    std::thread::spawn(|| assert_eq!(rust(dropforge_error()), "")).join().unwrap();
}

/// A pointer that threads may share, as the header promises.
struct Shared(*mut Model);
// SAFETY: the functions take the model by shared reference, and `Trained` is `Sync`.
unsafe impl Sync for Shared {}

#[test]
fn threads_share_a_model() {
    let folder = Folder::new("threads");
    let model = Shared(open(&folder.run()));
    let shared = &model;
    let ask = move || {
        let (pixels, mut rows) = (vec![0.5f32; 784], [0.0f32; 10]);
        // SAFETY: the model is closed after all threads have ended.
        let status = unsafe { dropforge_predict(shared.0, pixels.as_ptr(), 1, rows.as_mut_ptr()) };
        assert_eq!(status, 0);
        rows
    };
    let rows: Vec<[f32; 10]> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(rows.iter().all(|row| *row == rows[0]));
    // SAFETY: nothing else uses it any more.
    unsafe { dropforge_close(model.0) };
}

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder with the library for C, where the tests lie, too.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().to_path_buf()
}

fn library() -> PathBuf {
    let (before, after) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    built().join(format!("{before}dropforge_c{after}"))
}

/// A picture of a digit, and what a run says of it, as both example programs print it.
fn asked(folder: &Folder) -> (PathBuf, PathBuf, String) {
    let run = folder.run();
    let picture = folder.0.join("picture.bmp");
    std::fs::write(&picture, one()).unwrap();
    let trained = Trained::open(&run, &Runtime::shared().unwrap()).unwrap();
    let pixels = trained.inputs().read_image(&picture).unwrap();
    let row = trained.probabilities(pixels).unwrap().remove(0);
    let lines = trained.classes().iter().zip(row).map(|(class, value)| format!("{class}\t{value:.6}\n"));
    (run, picture, lines.collect())
}

/// A picture of a one: a white bar on black, as BMP of 24 bits.
fn one() -> Vec<u8> {
    let (width, height) = (28u32, 28u32);
    let mut bytes = b"BM".to_vec();
    for number in [54 + 3 * width * height, 0, 54, 40, width, height] {
        bytes.extend(number.to_le_bytes());
    }
    for number in [1u16, 24] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([0; 24]);
    let is_white = |place: u32| (12..16).contains(&(place % width)) && (4..24).contains(&(place / width));
    bytes.extend((0..width * height).flat_map(|place| [if is_white(place) { 255 } else { 0 }; 3]));
    bytes
}

fn first(programs: &[&str]) -> Option<String> {
    static SAID: OnceLock<()> = OnceLock::new();
    let found = programs.iter().find(|program| Command::new(program).arg("--version").output().is_ok());
    if found.is_none() {
        SAID.get_or_init(|| eprintln!("skipped: there is none of {}", programs.join(", ")));
    }
    found.map(|program| (*program).into())
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[cfg(unix)]
fn a_program_in_c() {
    let Some(compiler) = first(&["cc", "clang", "gcc"]) else { return };
    let folder = Folder::new("program");
    let (run, picture, expected) = asked(&folder);
    let program = folder.0.join("predict");
    output(
        Command::new(compiler)
            .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
            .arg(crate_folder().join("include"))
            .arg(crate_folder().join("examples/predict.c"))
            .arg(library())
            .arg("-o")
            .arg(&program),
    );
    let asked = |run: &Path| {
        let mut command = Command::new(&program);
        command.arg(run).arg(&picture).env("LD_LIBRARY_PATH", built()).env("DYLD_LIBRARY_PATH", built());
        command
    };
    assert_eq!(output(&mut asked(&run)), expected);
    let wrong = asked(&folder.0).output().unwrap();
    assert!(!wrong.status.success() && !wrong.stderr.is_empty());
}

#[test]
fn a_program_in_python() {
    let Some(python) = first(&["python3"]) else { return };
    let folder = Folder::new("python");
    let (run, picture, expected) = asked(&folder);
    let script = crate_folder().join("examples/predict.py");
    assert_eq!(output(Command::new(&python).arg(&script).arg(library()).arg(&run).arg(&picture)), expected);
    let wrong =
        Command::new(&python).arg(&script).arg(library()).arg(&folder.0).arg(&picture).output().unwrap();
    assert!(!wrong.status.success());
}

/// The header and the library name the same functions, each way.
#[test]
fn the_header_has_every_function() {
    let header = std::fs::read_to_string(crate_folder().join("include/dropforge.h")).unwrap();
    let code = std::fs::read_to_string(crate_folder().join("src/lib.rs")).unwrap();
    let functions = code.split("extern \"C\" fn ").skip(1).filter_map(|rest| rest.split('(').next());
    let functions: Vec<&str> = functions.collect();
    // What is left without comments are declarations.
    let declarations: String =
        header.split("/*").map(|part| part.split_once("*/").map_or(part, |(_, code)| code)).collect();
    let declared = declarations
        .split("dropforge_")
        .skip(1)
        .filter(|rest| rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').starts_with('('));
    assert_eq!(declared.count(), functions.len());
    for function in functions {
        assert!(declarations.contains(&format!("{function}(")), "the header lacks {function}");
    }
}
