//! Machine code of kernels: translated, compiled, and kept in files of the user's cache folder.

use crate::nvrtc::Compiler;
use crate::translate::{ENTRY, MATRICES, PRELUDE, translate};
use std::path::{Path, PathBuf};

/// What files begin with.
const MAGIC: &[u8] = b"dropforge cuda 1\n";

/// A kernel's machine code.
pub struct Code {
    pub image: Vec<u8>,
    /// Threads of a block.
    pub threads: u32,
}

/// The whole text of a kernel, and the threads of its blocks.
///
/// # Errors
/// If the text is not of the sort that is translated.
pub fn text(source: &str) -> Result<(String, u32), String> {
    let translated = translate(source)?;
    let matrices = if translated.uses_matrices { MATRICES } else { "" };
    Ok((with_prelude(&format!("{matrices}{}", translated.source)), translated.threads))
}

/// The whole text of a kernel of CUDA C that uses the prelude.
pub fn with_prelude(source: &str) -> String {
    format!("#define DROPFORGE_INLINE __attribute__((always_inline))\n{PRELUDE}{source}")
}

/// Where code is kept, and for what it is made.
pub struct Store {
    folder: Option<PathBuf>,
    architecture: String,
    version: (u32, u32),
}

impl Store {
    /// A store of code for an architecture, such as `sm_90`, by a compiler of this version; it keeps nothing without a
    /// folder.
    pub fn new(folder: Option<PathBuf>, architecture: String, version: (u32, u32)) -> Store {
        Store { folder: folder.map(|folder| folder.join("cuda")), architecture, version }
    }

    /// The code of a text: from a file, or by `compiler`, after which a file keeps it.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn code(&self, compiler: &Compiler, text: &str, threads: u32) -> Result<Code, String> {
        let key = format!("{} {}.{}\n{text}", self.architecture, self.version.0, self.version.1);
        let file =
            self.folder.as_ref().map(|folder| folder.join(format!("{ENTRY}-{:016x}.cubin", hash(&key))));
        if let Some(image) = file.as_ref().and_then(|file| read(file, &key)) {
            return Ok(Code { image, threads });
        }
        let image = compiler.compile(text, &self.architecture)?;
        if let Some(file) = file {
            keep(&file, &key, &image);
        }
        Ok(Code { image, threads })
    }
}

/// FNV-1a. Files say what they are made of, so that two texts of one hash only take turns.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The code in a file, if that was made of just this.
fn read(file: &Path, key: &str) -> Option<Vec<u8>> {
    let bytes = std::fs::read(file).ok()?;
    let rest = bytes.strip_prefix(MAGIC)?;
    let length = u64::from_le_bytes(rest.get(..8)?.try_into().ok()?);
    let rest = rest.get(8..)?;
    let length = usize::try_from(length).ok()?;
    let image = rest.strip_prefix(key.as_bytes())?;
    (image.len() == length && length > 0).then(|| image.to_vec())
}

/// Writes a file beside its place and moves it there, so that nobody sees half of it. A folder that cannot be written
/// is no error.
fn keep(file: &Path, key: &str, image: &[u8]) {
    let Some(folder) = file.parent() else { return };
    let length = (image.len() as u64).to_le_bytes();
    let bytes = [MAGIC, &length, key.as_bytes(), image].concat();
    let number = std::process::id();
    let beside =
        file.with_extension(format!("{number}.{:?}", std::thread::current().id()).replace(['(', ')'], ""));
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&beside, bytes));
    if written.and_then(|()| std::fs::rename(&beside, file)).is_err() {
        let _ = std::fs::remove_file(&beside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_of_the_same_text_comes_back() {
        let folder = std::env::temp_dir().join(format!("dropforge-code-{}", std::process::id()));
        let file = folder.join("inner").join("x.cubin");
        keep(&file, "sm_90 12.9\nkernel", b"code");
        assert_eq!(read(&file, "sm_90 12.9\nkernel").as_deref(), Some(&b"code"[..]));
        assert_eq!(read(&file, "sm_80 12.9\nkernel"), None);
        assert_eq!(read(&file, "sm_90 12.9\nkerne"), None);
        std::fs::write(&file, b"dropforge cuda 1\n").unwrap();
        assert_eq!(read(&file, "sm_90 12.9\nkernel"), None);
        std::fs::remove_dir_all(&folder).unwrap();
        keep(Path::new("/dev/null/x/y.cubin"), "key", b"code");
    }
}
