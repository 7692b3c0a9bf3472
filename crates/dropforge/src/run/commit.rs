//! Which commit of the working folder trained something.

use super::calls;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The commit of a Git repository, and whether files that it tracks had been changed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// The hash.
    pub id: String,
    /// Whether something was not committed.
    pub dirty: bool,
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.id, if self.dirty { ", with changes" } else { "" })
    }
}

/// The commit of the folder that this process was in when it asked first; `None` where that is no repository, or there
/// is no `git`.
pub fn commit() -> Option<&'static Commit> {
    static COMMIT: OnceLock<Option<Commit>> = OnceLock::new();
    let found = COMMIT.get_or_init(|| of(&std::env::current_dir().ok()?));
    found.as_ref()
}

fn of(folder: &Path) -> Option<Commit> {
    // Asking costs nothing where there is no repository.
    folder.ancestors().find(|folder| calls::look(&folder.join(".git")).is_ok())?;
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.args(words).current_dir(folder).stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.env("GIT_OPTIONAL_LOCKS", "0").output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let id = git(&["rev-parse", "HEAD"])?;
    let dirty = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(Commit { id, dirty })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_a_commit_and_may_be_dirty() {
        let folder = std::env::temp_dir().join(format!("dropforge-commit-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(of(&folder), None);
        let git = |words: &[&str]| {
            let mut command = Command::new("git");
            command.args(["-c", "user.name=a", "-c", "user.email=a@b.c"]).args(words).current_dir(&folder);
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        // Where there is no git there is nothing to find out either.
        if git(&["init"]) {
            std::fs::write(folder.join("file"), "1").unwrap();
            assert!(git(&["add", "file"]) && git(&["commit", "-m", "first"]));
            let clean = of(&folder).unwrap();
            assert!(clean.id.len() >= 40 && !clean.dirty, "{clean}");
            std::fs::write(folder.join("file"), "2").unwrap();
            assert_eq!(of(&folder), Some(Commit { dirty: true, ..clean }));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
