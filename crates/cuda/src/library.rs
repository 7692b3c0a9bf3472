//! Finding NVIDIA's libraries at run time: where the system's loader looks, where CUDA installs itself, and where
//! Python packages keep theirs.

use libloading::Library;
use std::path::{Path, PathBuf};

/// A folder to look in first, for installations in unusual places.
pub const FOLDER: &str = "DROPFORGE_CUDA_LIBRARIES";

/// A library that was opened, and where.
pub struct Found {
    pub library: Library,
    pub path: PathBuf,
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// What it is, for people.
    pub what: &'static str,
    /// `nvrtc` of `libnvrtc.so.12`.
    pub stem: &'static str,
    /// The versions that its file may be named after, the newest first; empty for those of CUDA.
    pub versions: &'static [u32],
    /// The file names on Windows.
    pub windows: &'static [&'static str],
    /// How to get it.
    pub advice: &'static str,
}

/// The compiler.
pub const NVRTC: Wanted = Wanted {
    what: "CUDA's run-time compiler",
    stem: "nvrtc",
    versions: &[],
    windows: &["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"],
    advice: "`pip install nvidia-cuda-nvrtc-cu12` brings it, and so do CUDA's toolkit and PyTorch",
};

/// Products.
pub const CUBLASLT: Wanted = Wanted {
    what: "CUDA's library of products",
    stem: "cublasLt",
    versions: &[],
    windows: &["cublasLt64_13.dll", "cublasLt64_12.dll"],
    advice: "`pip install nvidia-cublas-cu12` brings it, and so do CUDA's toolkit and PyTorch",
};

/// Convolutions. Its ninth version works with CUDA 12 and 13.
pub const CUDNN: Wanted = Wanted {
    what: "CUDA's library of convolutions",
    stem: "cudnn",
    versions: &[9],
    windows: &["cudnn64_9.dll"],
    advice: "`pip install nvidia-cudnn-cu12` brings it, and so does PyTorch",
};

/// Versions of CUDA that are known, the newest first.
const MAJORS: [u32; 2] = [13, 12];

/// Opens the driver.
///
/// # Errors
/// One line that says what is missing and where it was looked for.
pub fn driver() -> Result<Found, String> {
    let names: &[&str] = if cfg!(windows) { &["nvcuda.dll"] } else { &["libcuda.so.1", "libcuda.so"] };
    let folders: Vec<PathBuf> = std::env::var_os(FOLDER).map(PathBuf::from).into_iter().collect();
    for path in folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name))) {
        if let Ok(found) = open(&path) {
            return Ok(found);
        }
    }
    let mut why = String::new();
    for name in names {
        match open(Path::new(name)) {
            Ok(found) => return Ok(found),
            Err(error) if why.is_empty() => why = error,
            Err(_) => {}
        }
    }
    let also =
        if folders.is_empty() { String::new() } else { format!(" and in {FOLDER}={}", folders[0].display()) };
    Err(format!(
        "there is no NVIDIA driver: looked for {} where the system's loader looks{also} ({})",
        names.join(", "),
        one_line(&why)
    ))
}

/// Opens a library of a version that a driver of version `major` can work with, the newest first.
///
/// # Errors
/// One line that says what is missing and where it was looked for.
pub fn find(wanted: &Wanted, major: u32) -> Result<Found, String> {
    let folders = folders();
    let names: Vec<String> = if cfg!(windows) {
        wanted.windows.iter().map(|name| name.to_string()).collect()
    } else {
        let of_cuda = MAJORS.iter().filter(|&&version| version <= major.max(MAJORS[MAJORS.len() - 1]));
        let versions: Vec<&u32> =
            if wanted.versions.is_empty() { of_cuda.collect() } else { wanted.versions.iter().collect() };
        versions.into_iter().map(|version| format!("lib{}.so.{version}", wanted.stem)).collect()
    };
    let mut refused = Vec::new();
    for name in &names {
        let paths = folders.iter().map(|folder| folder.join(name)).filter(|path| path.exists());
        for path in paths.chain([PathBuf::from(name)]) {
            match open(&path) {
                Ok(found) => return Ok(found),
                Err(error) if path.is_absolute() => refused.push(error),
                Err(_) => {}
            }
        }
    }
    let refused =
        if refused.is_empty() { String::new() } else { format!("; {}", one_line(&refused.join("; "))) };
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let folders = if folders.is_empty() { String::new() } else { format!(" and in {}", folders.join(", ")) };
    Err(format!(
        "{} is missing: looked for {} where the system's loader looks{folders}{refused}; {}",
        wanted.what,
        names.join(", "),
        wanted.advice
    ))
}

fn open(path: &Path) -> Result<Found, String> {
    // SAFETY: the library is NVIDIA's, by its name; its initialisers do nothing but set up the library itself.
    match unsafe { Library::new(path) } {
        Ok(library) => Ok(Found { library, path: path.to_path_buf() }),
        Err(error) => Err(error.to_string()),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The folders of this machine in which libraries may lie, those that exist.
fn folders() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut add = |folder: PathBuf| {
        if folder.is_dir() && !found.contains(&folder) {
            found.push(folder);
        }
    };
    if let Some(folder) = std::env::var_os(FOLDER) {
        add(folder.into());
    }
    for packages in site_packages() {
        let nvidia = packages.join("nvidia");
        for package in ["cu13", "cuda_nvrtc", "cublas", "cudnn"] {
            add(nvidia.join(package).join(if cfg!(windows) { "bin" } else { "lib" }));
        }
    }
    for variable in ["CUDA_HOME", "CUDA_PATH"] {
        if let Some(home) = std::env::var_os(variable) {
            add(Path::new(&home).join(if cfg!(windows) { "bin" } else { "lib64" }));
        }
    }
    add("/usr/local/cuda/lib64".into());
    add("/opt/cuda/lib64".into());
    found
}

/// The folders of Python's packages, as far as they are where they usually are.
fn site_packages() -> Vec<PathBuf> {
    let home = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let mut roots: Vec<PathBuf> = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(home).collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path) {
        for name in ["python3", "python"] {
            // An environment's Python is a link to another one's.
            let python = folder.join(name);
            if let Ok(real) = python.canonicalize() {
                let homes = [python, real]
                    .map(|python| python.parent().and_then(Path::parent).map(Path::to_path_buf));
                roots.extend(homes.into_iter().flatten());
            }
        }
    }
    if let Some(home) = home("HOME") {
        roots.push(home.join(".local"));
        roots.extend(children(&home.join(".pyenv/versions")));
    }
    roots.extend(["/usr/local", "/usr"].map(PathBuf::from));
    let mut found: Vec<PathBuf> = Vec::new();
    for root in roots {
        let versions = children(&root.join("lib")).into_iter().filter(|folder| {
            folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3"))
        });
        for folder in versions {
            for name in ["site-packages", "dist-packages"] {
                let packages = folder.join(name);
                if packages.is_dir() && !found.contains(&packages) {
                    found.push(packages);
                }
            }
        }
    }
    found
}

/// What lies in a folder, in the order of names.
fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Functions of a library, by their names in it.
macro_rules! functions {
    ($(#[$meta:meta])* $name:ident { $($field:ident = $symbol:literal: fn($($arg:ty),*) -> $result:ty;)* }) => {
        $(#[$meta])*
        pub struct $name {
            $(pub $field: unsafe extern "C" fn($($arg),*) -> $result,)*
            pub path: std::path::PathBuf,
            /// Keeps the functions in memory.
            _library: libloading::Library,
        }

        impl $name {
            /// # Errors
            /// If a function is missing; the message names it.
            pub fn of(found: $crate::library::Found) -> std::result::Result<$name, String> {
                let $crate::library::Found { library, path } = found;
                $(
                    // SAFETY: the type is that of the function in NVIDIA's headers, and the library is kept as long as
                    // the pointer.
                    let $field = unsafe { library.get::<unsafe extern "C" fn($($arg),*) -> $result>($symbol) };
                    let $field = *$field.map_err(|_| {
                        let symbol = String::from_utf8_lossy($symbol);
                        format!("{} has no function {symbol}: it is too old", path.display())
                    })?;
                )*
                Ok($name { $($field,)* path, _library: library })
            }
        }
    };
}
pub(crate) use functions;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_one_line_with_where_it_was_looked_for() {
        let wanted = Wanted {
            what: "a library of no one",
            stem: "of-no-one",
            versions: &[],
            windows: &["of-no-one.dll"],
            advice: "write it",
        };
        let error = find(&wanted, 12).err().unwrap();
        assert!(
            !error.contains('\n') && error.contains("of-no-one") && error.ends_with("write it"),
            "{error}"
        );
        match driver() {
            Ok(found) => assert!(!found.path.as_os_str().is_empty()),
            Err(error) => {
                assert!(!error.contains('\n') && error.starts_with("there is no NVIDIA driver"), "{error}")
            }
        }
    }
}
